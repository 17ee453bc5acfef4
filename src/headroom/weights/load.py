"""Fill modules with the tensors of a checkpoint.

A module is built on `meta`, the headers of the files are checked against it, and only then are its
parameters assigned, one at a time. On a CPU, in the file's own precision, a parameter *is* the
mapping of the file: loading reads nothing, and pages are read as they are used.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import torch
from torch import Tensor, nn

from headroom.errors import InvalidCheckpoint
from headroom.units import MIB
from headroom.weights.checkpoint import Checkpoint as Checkpoint
from headroom.weights.match import Recipe as Recipe
from headroom.weights.match import Recipes, compare, unexpected
from headroom.weights.match import check_complete as check_complete

PIECE = 4 * MIB  # bytes read and converted at a time: they stay in the cache of the processor


def load_weights(
    module: nn.Module,
    checkpoint: Checkpoint,
    *,
    prefix: str = "",
    unused: Collection[str] = frozenset(),
    dtype: torch.dtype | None = None,
    recipes: Recipes | None = None,
) -> None:
    """Fill a module that was built on `meta` from the tensors below `prefix`.

    The names of `module.state_dict()` are expected, without non-persistent buffers; `unused` are
    full names that are ignored. Everything is checked before the first tensor is assigned:
    InvalidCheckpoint lists every name that is missing, misshapen or of the wrong kind of numbers,
    and, if there is one of those, also the unexpected names. `dtype` converts floating-point
    tensors piece by piece, all read into the same buffer, so the peak exceeds the result by a
    piece; with the file's own dtype on a CPU nothing is copied. Parameters need no gradients.
    """
    faults, used = compare(module, checkpoint, prefix, recipes)
    if faults:
        spare = set(checkpoint.below(prefix)) - used - set(unused)
        raise InvalidCheckpoint(checkpoint.folder, faults + unexpected(checkpoint, spare))
    take = _Source(checkpoint, prefix, recipes, dtype)
    for name in module.state_dict():
        _assign(module, name, take.tensor(name))
    module.eval()


class _Source:
    """Tensors by parameter name: mapped if kept as stored, read and converted otherwise.

    One buffer serves all conversions: buffers allocated and freed between tensors that stay would
    leave holes in the heap (up to 1.3 GB were measured).
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        prefix: str,
        recipes: Recipes | None,
        dtype: torch.dtype | None,
    ) -> None:
        self.checkpoint, self.prefix, self.recipes, self.dtype = checkpoint, prefix, recipes, dtype

    @cached_property
    def room(self) -> Tensor:
        """The memory of the piece that is converted."""
        return torch.empty(PIECE, dtype=torch.uint8)

    def tensor(self, name: str) -> Tensor:
        """A parameter in its type, in host memory."""
        recipe = self.recipes(name) if self.recipes else None
        if recipe is not None:
            read = self.checkpoint.read
            made = recipe.build(*(read(self.prefix + key) for key in recipe.keys))
            return made if self._kept(made.dtype) else made.to(self.dtype)
        key = self.prefix + name
        if self.dtype is None or self._kept(self.checkpoint.stored[key].dtype):
            return self.checkpoint.tensor(key)
        return self.checkpoint.read_as(key, self.dtype, self.room)

    def _kept(self, dtype: torch.dtype) -> bool:
        return self.dtype in (None, dtype) or not dtype.is_floating_point


def _assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[leaf] = tensor
