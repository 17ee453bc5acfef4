"""Safetensors files as tensors that are mapped, not copied, and modules filled from them.

A module is built on `meta`, the headers of the files are held against it, and only then are its
parameters assigned, one at a time. On a CPU, in the file's own precision, a parameter *is* the
mapping of the file: loading reads nothing, and pages come in as they are used.

A mapped file stays open while a tensor of it lives: on Windows it cannot be deleted, renamed or
replaced until then (on Linux and macOS it can, and the tensors keep the old contents).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from headroom import paths
from headroom.errors import InvalidCheckpoint, WeightsMissing
from headroom.weights.blank import shapes_only
from headroom.weights.header import INDEX, SINGLE, Header, TornFile, read_header, read_index

_DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "F8_E8M0": torch.float8_e8m0fnu, "I16": torch.int16,
    "U16": torch.uint16, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32,
    "U32": torch.uint32, "F32": torch.float32, "I64": torch.int64, "U64": torch.uint64,
    "F64": torch.float64, "C64": torch.complex64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a checkpoint as its header states it; `start` is its first byte in `file`."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int
    nbytes: int
    file: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """A parameter that is made from several tensors of the file, such as folded weight norm.

    keys    names in the file, below the same prefix as the parameter
    build   the tensors of those keys, in their order → the parameter. It is called once on meta
            tensors to check the shapes before anything is read, so it may not look at values.
    """

    keys: tuple[str, ...]
    build: Callable[..., Tensor]


# Parameter name → how it is made; None: it is the tensor of the same name.
Recipes = Callable[[str], Recipe | None]


class Checkpoint:
    """The tensors of one folder, single file or shards. Opening it reads headers only.

    Where all names start with `model.` (a language model's `lm_head.` apart) it is stripped.
    """

    def __init__(self, folder: Path, stored: Mapping[str, Stored]) -> None:
        self.folder = folder
        self.stored: Mapping[str, Stored] = MappingProxyType(dict(stored))
        self._maps: dict[str, mmap.mmap] = {}

    @classmethod
    def open(cls, folder: str | Path) -> Checkpoint:
        """Raises WeightsMissing without the folder, InvalidCheckpoint where files are torn."""
        folder = Path(folder)
        if not paths.is_dir(folder):
            how = f"fetch it with `acestep models download {folder.name}`"
            raise WeightsMissing(folder.name, [str(folder.parent)], how)
        return cls(folder, _strip(_read(folder)))

    def tensor(self, key: str) -> Tensor:
        """The tensor of the file, mapped: no byte is read until it is used.

        What is written to it stays in this process.
        """
        stored = self._known(key)
        mapped = self._map(stored.file)
        if stored.start + stored.nbytes > len(mapped):
            raise self._shorter(stored)
        return _view(mapped, stored)

    def read(self, key: str, room: Tensor | None = None) -> Tensor:
        """The tensor of the file, read into memory of its own, or into `room` (bytes, enough).

        For what is not kept as it is stored: of a mapping, every page that was looked at would
        stay in the process beside what was made of it.
        """
        stored = self._known(key)
        raw = torch.empty(stored.nbytes, dtype=torch.uint8) if room is None else room
        raw = raw[: stored.nbytes]
        try:
            with (self.folder / stored.file).open("rb") as file:
                file.seek(stored.start)
                got = file.readinto(raw.numpy().data) if stored.nbytes else 0
        except OSError as error:
            raise InvalidCheckpoint(self.folder, [f"{stored.file}: {error}"]) from error
        if got < stored.nbytes:
            raise self._shorter(stored)
        return raw.view(stored.dtype).view(stored.shape)

    def expect(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """The tensor of a name that stands alone; InvalidCheckpoint names both shapes."""
        stored = self.stored.get(key)
        if stored is not None and stored.shape != shape:
            raise InvalidCheckpoint(self.folder, [_misshapen(key, stored.shape, shape)])
        return self.tensor(key)

    def below(self, prefix: str) -> Iterator[str]:
        """Names that start with the prefix, in full."""
        return (key for key in self.stored if key.startswith(prefix))

    def nbytes(self, prefix: str = "") -> int:
        """Bytes of all tensors below the prefix, as stored."""
        return sum(self.stored[key].nbytes for key in self.below(prefix))

    def close(self) -> None:
        """Let go of the files. Tensors that were taken keep their own mapping of them."""
        self._maps.clear()

    def _known(self, key: str) -> Stored:
        stored = self.stored.get(key)
        if stored is None:
            raise InvalidCheckpoint(self.folder, [f"{key}: missing"])
        return stored

    def _shorter(self, stored: Stored) -> InvalidCheckpoint:
        """The file was whole when its header was read."""
        return InvalidCheckpoint(self.folder, [f"{stored.file}: has become shorter"])

    def _map(self, name: str) -> mmap.mmap:
        if name not in self._maps:
            try:
                with (self.folder / name).open("rb") as file:
                    # Copy on write: what is written to a tensor never reaches the file.
                    self._maps[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError) as error:
                raise InvalidCheckpoint(self.folder, [f"{name}: {error}"]) from error
        return self._maps[name]


def load(
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

    Expected are the names of `module.state_dict()` (buffers that are not persistent are not);
    `unused` are full names that may be there and are not read. Everything is checked before the
    first tensor is assigned: InvalidCheckpoint lists every missing, unexpected and misshapen
    name. `dtype` converts floating-point tensors one by one, each read into the same room, so
    the peak is the largest one more; with the file's own dtype on a CPU nothing is copied.
    Parameters need no gradients.
    """
    faults, used = _match(module, checkpoint, prefix, recipes)
    faults += _unexpected(checkpoint, set(checkpoint.below(prefix)) - used - set(unused))
    if faults:
        raise InvalidCheckpoint(checkpoint.folder, faults)
    device = torch.device(device)
    take = _Source(checkpoint, prefix, recipes, dtype, used)
    for name in module.state_dict():
        _assign(module, name, _place(take.tensor(name), dtype, device))
    module.eval()


def check_complete(
    checkpoint: Checkpoint,
    modules: Mapping[str, nn.Module],
    *,
    tensors: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    unused: Collection[str] = frozenset(),
    recipes: Mapping[str, Recipes] = MappingProxyType({}),
) -> None:
    """Hold a whole checkpoint against all that is read from it; headers only, nothing loaded.

    `modules` are by prefix (on `meta`), `tensors` are names that stand alone with their shapes,
    `recipes` are by prefix. Raises one InvalidCheckpoint with every fault of the whole.
    """
    faults: list[str] = []
    used = set(unused)
    for prefix, module in modules.items():
        found, keys = _match(module, checkpoint, prefix, recipes.get(prefix))
        faults += found
        used |= keys
    for key, shape in tensors.items():
        stored = checkpoint.stored.get(key)
        used.add(key)
        if stored is None:
            faults.append(_missing(key, shape))
        elif stored.shape != shape:
            faults.append(_misshapen(key, stored.shape, shape))
    faults += _unexpected(checkpoint, set(checkpoint.stored) - used)
    if faults:
        raise InvalidCheckpoint(checkpoint.folder, faults)


def _view(mapped: mmap.mmap, stored: Stored) -> Tensor:
    """A tensor over its bytes of the file, with a storage of its own that holds the mapping.

    The mapping is not closed by hand anywhere: torch would not notice.
    """
    if stored.nbytes == 0:
        return torch.empty(stored.shape, dtype=stored.dtype)
    if stored.start % stored.dtype.itemsize:  # the format does not promise that they are aligned
        raw = torch.frombuffer(mapped, dtype=torch.uint8, offset=stored.start, count=stored.nbytes)
        return raw.clone().view(stored.dtype).view(stored.shape)
    count = stored.nbytes // stored.dtype.itemsize
    flat = torch.frombuffer(mapped, dtype=stored.dtype, offset=stored.start, count=count)
    return flat.view(stored.shape)


def _read(folder: Path) -> dict[str, Stored]:
    for name in SINGLE:
        if paths.is_file(folder / name):
            return _stored(name, _header(folder, name))
    for name in INDEX:
        if paths.is_file(folder / name):
            return _read_shards(folder, name)
    wanted = ", ".join((*SINGLE, *INDEX))
    raise InvalidCheckpoint(folder, [f"holds no weights; one of {wanted} is needed"])


def _read_shards(folder: Path, index: str) -> dict[str, Stored]:
    try:
        shards = read_index(folder / index)
    except TornFile as error:
        raise InvalidCheckpoint(folder, [str(error)]) from error
    absent = [name for name in sorted(set(shards.values())) if not paths.is_file(folder / name)]
    if absent:
        raise InvalidCheckpoint(folder, [f"{name}: named by {index}, not there" for name in absent])
    held = {name: _stored(name, _header(folder, name)) for name in sorted(set(shards.values()))}
    faults = [
        f"{key}: not in {shard}, where {index} says it is"
        for key, shard in shards.items()
        if key not in held[shard]
    ]
    if faults:
        raise InvalidCheckpoint(folder, faults)
    everything = {key: stored for part in held.values() for key, stored in part.items()}
    return everything | {key: held[shard][key] for key, shard in shards.items()}


def _header(folder: Path, name: str) -> Header:
    try:
        return read_header(folder / name)
    except TornFile as error:
        raise InvalidCheckpoint(folder, [str(error)]) from error


def _stored(file: str, header: Header) -> dict[str, Stored]:
    return {
        key: Stored(entry.shape, _DTYPES[entry.dtype], entry.start, entry.nbytes, file)
        for key, entry in header.entries.items()
    }


def _strip(stored: dict[str, Stored]) -> dict[str, Stored]:
    wrapped = [key for key in stored if not key.startswith("lm_head.")]
    if not wrapped or not all(key.startswith("model.") for key in wrapped):
        return stored
    return {key.removeprefix("model."): value for key, value in stored.items()}


def _match(
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
            wanted = None if recipe else shape
            faults += [_missing(key, wanted) for key in absent]
            continue
        found = [checkpoint.stored[key] for key in keys]
        faults += _shape_faults(prefix + name, keys, found, shape, recipe)
    return faults, used


def _shape_faults(
    name: str, keys: list[str], found: list[Stored], shape: tuple[int, ...], recipe: Recipe | None
) -> list[str]:
    if recipe is None:
        return [] if found[0].shape == shape else [_misshapen(keys[0], found[0].shape, shape)]
    parts = ", ".join(f"{k} {list(s.shape)}" for k, s in zip(keys, found, strict=True))
    try:
        with shapes_only():
            built = recipe.build(*(torch.empty(s.shape, dtype=s.dtype) for s in found))
    except RuntimeError:  # what torch raises for shapes that do not go together
        return [f"{name}: cannot be made from {parts}; the network wants {list(shape)}"]
    if tuple(built.shape) == shape:
        return []
    return [f"{name}: {parts} make {list(built.shape)}, the network wants {list(shape)}"]


class _Source:
    """Tensors by parameter name: mapped where kept as they are, read where they are not.

    One room serves all that is converted: rooms that come and go between tensors that stay
    would leave holes in the heap (up to 1.3 GB of them were seen).
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
        """Bytes enough for the largest tensor that is converted."""
        stored = [self.checkpoint.stored[key] for key in self.used]
        most = max(entry.nbytes for entry in stored if not self._kept(entry))
        return torch.empty(most, dtype=torch.uint8)

    def tensor(self, name: str) -> Tensor:
        """The next parameter; one that is to be converted only lasts until the next call."""
        read, recipe = self.checkpoint.read, self.recipes(name) if self.recipes else None
        if recipe is not None:
            return recipe.build(*(read(self.prefix + key) for key in recipe.keys))
        key = self.prefix + name
        if self._kept(self.checkpoint.stored[key]):
            return self.checkpoint.tensor(key)
        return read(key, self.room)

    def _kept(self, stored: Stored) -> bool:
        return self.dtype in (None, stored.dtype) or not stored.dtype.is_floating_point


def _place(tensor: Tensor, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    if dtype is None or not tensor.is_floating_point():
        return tensor.to(device)
    # Converted by whoever has the smaller copy to send: narrowing first halves the transfer.
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


def _missing(key: str, shape: tuple[int, ...] | None) -> str:
    return f"{key}: missing" + (f", the network wants {list(shape)}" if shape is not None else "")


def _misshapen(key: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    return f"{key}: {list(found)} in the file, the network wants {list(wanted)}"


def _unexpected(checkpoint: Checkpoint, keys: Collection[str]) -> list[str]:
    shapes = {key: list(checkpoint.stored[key].shape) for key in keys}
    return [f"{key}: unexpected, {shapes[key]} in the file" for key in sorted(keys)]
