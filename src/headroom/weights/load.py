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
from headroom.weights.checkpoint import Checkpoint as Checkpoint
from headroom.weights.checkpoint import StoredTensor
from headroom.weights.match import Recipe as Recipe
from headroom.weights.match import Recipes, compare, unexpected
from headroom.weights.match import check_complete as check_complete


def load_weights(
    module: nn.Module,
    checkpoint: Checkpoint,
    *,
    prefix: str = "",
    unused: Collection[str] = frozenset(),
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    recipes: Recipes | None = None,
) -> None:
    """Fill a module that was built on `meta` from the tensors below `prefix`.

    The names of `module.state_dict()` are expected, without non-persistent buffers; `unused` are
    full names that are ignored. Everything is checked before the first tensor is assigned:
    InvalidCheckpoint lists every name that is missing, misshapen or of the wrong kind of numbers,
    and, if there is one of those, also the unexpected names. `dtype` converts floating-point
    tensors one by one, each read into the same buffer, so the peak exceeds the result by the
    largest tensor; with the file's own dtype on a CPU nothing is copied. Parameters need no
    gradients.
    """
    faults, used = compare(module, checkpoint, prefix, recipes)
    if faults:
        spare = set(checkpoint.below(prefix)) - used - set(unused)
        raise InvalidCheckpoint(checkpoint.folder, faults + unexpected(checkpoint, spare))
    device = torch.device(device)
    take = _Source(checkpoint, prefix, recipes, dtype, used)
    for name in module.state_dict():
        _assign(module, name, _place(take.tensor(name), dtype, device))
    module.eval()


class _Source:
    """Tensors by parameter name: mapped if kept as stored, read if converted.

    One buffer serves all conversions: buffers allocated and freed between tensors that stay would
    leave holes in the heap (up to 1.3 GB were measured).
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        prefix: str,
        recipes: Recipes | None,
        dtype: torch.dtype | None,
        used: Collection[str],
    ) -> None:
        self.checkpoint, self.prefix, self.recipes, self.dtype = checkpoint, prefix, recipes, dtype
        self.used = used

    @cached_property
    def room(self) -> Tensor:
        """A buffer, uint8, large enough for the largest tensor that is converted."""
        stored = [self.checkpoint.stored[key] for key in self.used]
        most = max(entry.nbytes for entry in stored if not self._kept(entry))
        return torch.empty(most, dtype=torch.uint8)

    def tensor(self, name: str) -> Tensor:
        """The next parameter; one that is to be converted is valid only until the next call."""
        read, recipe = self.checkpoint.read, self.recipes(name) if self.recipes else None
        if recipe is not None:
            return recipe.build(*(read(self.prefix + key) for key in recipe.keys))
        key = self.prefix + name
        if self._kept(self.checkpoint.stored[key]):
            return self.checkpoint.tensor(key)
        return read(key, self.room)

    def _kept(self, stored: StoredTensor) -> bool:
        return self.dtype in (None, stored.dtype) or not stored.dtype.is_floating_point


def _place(tensor: Tensor, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    if dtype is None or not tensor.is_floating_point():
        return tensor.to(device)
    # Converted on the side that makes the transfer smaller: narrowing first halves it.
    if dtype.itemsize <= tensor.dtype.itemsize:
        return tensor.to(dtype).to(device)
    return tensor.to(device).to(dtype)


def _assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[leaf] = tensor
