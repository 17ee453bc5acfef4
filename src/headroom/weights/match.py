"""Check that a checkpoint, by its headers, holds what a network needs.

Shapes and kinds of numbers are compared by name, before any tensor is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from headroom.errors import InvalidCheckpoint
from headroom.weights.checkpoint import Checkpoint, StoredTensor, mismatch, wrong_kind
from headroom.weights.header import name_of
from headroom.weights.meta_modules import shapes_only


@dataclass(frozen=True, slots=True)
class Recipe:
    """A parameter that is made from several tensors of the file, such as folded weight norm.

    keys    names in the file, below the same prefix as the parameter
    build   the tensors of those keys, in order → the parameter. It is called once on meta tensors
            to check the shapes before anything is read, so it must not look at values.
    """

    keys: tuple[str, ...]
    build: Callable[..., Tensor]


# Parameter name → its recipe; None: it is the tensor of the same name.
Recipes = Callable[[str], Recipe | None]


def check_complete(
    checkpoint: Checkpoint,
    modules: Mapping[str, nn.Module],
    *,
    tensors: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    unused: Collection[str] = frozenset(),
    recipes: Mapping[str, Recipes] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Check a whole checkpoint against everything read from it, by headers, loading nothing.

    `modules` are by prefix (on `meta`), `tensors` are names outside any module with their shapes,
    `recipes` are by prefix. Returns the names in the file that are not needed. Raises one
    InvalidCheckpoint that lists every fault.
    """
    faults: list[str] = []
    used = set(unused)
    for prefix, module in modules.items():
        problems, keys = compare(module, checkpoint, prefix, recipes.get(prefix))
        faults += problems
        used |= keys
    for key, shape in tensors.items():
        stored = checkpoint.stored.get(key)
        used.add(key)
        if stored is None:
            faults.append(_missing(key, shape))
        elif fault := mismatch(key, stored, shape):
            faults.append(fault)
    spare = sorted(set(checkpoint.stored) - used)
    faults += _scaled(checkpoint, used, spare)
    if faults:
        raise InvalidCheckpoint(checkpoint.folder, faults + unexpected(checkpoint, spare))
    return tuple(spare)


def compare(
    module: nn.Module, checkpoint: Checkpoint, prefix: str, recipes: Recipes | None
) -> tuple[list[str], set[str]]:
    """Faults of a module's names, and the names of the file that it uses."""
    faults: list[str] = []
    used: set[str] = set()
    for name, parameter in module.state_dict().items():
        recipe = recipes(name) if recipes else None
        keys = [prefix + key for key in (recipe.keys if recipe else (name,))]
        used.update(keys)
        shape = tuple(parameter.shape)
        absent = [key for key in keys if key not in checkpoint.stored]
        if absent:
            expected = None if recipe else shape
            faults += [_missing(key, expected) for key in absent]
            continue
        tensors = {key: checkpoint.stored[key] for key in keys}
        if recipe is None:
            fault = mismatch(keys[0], tensors[keys[0]], shape, parameter.dtype)
            faults += [fault] if fault else []
        else:
            faults += _recipe_faults(prefix + name, tensors, parameter, recipe)
    return faults, used


def _recipe_faults(
    name: str, tensors: Mapping[str, StoredTensor], parameter: Tensor, recipe: Recipe
) -> list[str]:
    kinds = [wrong_kind(key, stored, parameter.dtype) for key, stored in tensors.items()]
    if any(kinds):
        return [fault for fault in kinds if fault]
    shape = tuple(parameter.shape)
    parts = ", ".join(f"{k} {list(s.shape)}" for k, s in tensors.items())
    try:
        with shapes_only():
            built = recipe.build(*(torch.empty(s.shape, dtype=s.dtype) for s in tensors.values()))
    except (RuntimeError, IndexError, ValueError):  # incompatible shapes
        return [f"{name}: cannot be made from {parts}; the network wants {list(shape)}"]
    if tuple(built.shape) == shape:
        return []
    return [f"{name}: {parts} make {list(built.shape)}, the network wants {list(shape)}"]


def unexpected(checkpoint: Checkpoint, keys: Collection[str]) -> list[str]:
    """A sentence for each tensor that no network expects."""
    shapes = {key: list(checkpoint.stored[key].shape) for key in keys}
    return [f"{name_of(key)}: unexpected, {shapes[key]} in the file" for key in sorted(keys)]


def _scaled(checkpoint: Checkpoint, used: Collection[str], spare: Collection[str]) -> list[str]:
    """Faults of weights that are meaningless without the scales stored beside them."""
    narrow = {key for key in used if _is_8_bit(checkpoint.stored.get(key))}
    scales = [key for key in spare if "scale" in key.lower()] if narrow else []
    return [
        f"{name_of(key)}: 8-bit weights with scales of their own cannot be read" for key in scales
    ]


def _is_8_bit(stored: StoredTensor | None) -> bool:
    return stored is not None and stored.dtype.is_floating_point and stored.dtype.itemsize == 1


def _missing(key: str, shape: tuple[int, ...] | None) -> str:
    needed = f", the network wants {list(shape)}" if shape is not None else ""
    return f"{name_of(key)}: missing{needed}"
