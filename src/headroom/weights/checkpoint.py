"""Map the tensors of a model folder from a single file, or from shards with or without an index.

A mapped file stays open while one of its tensors lives: until then it cannot be deleted, renamed or
replaced on Windows (on Linux and macOS it can, and the tensors keep the old contents).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from headroom import paths
from headroom.errors import InvalidCheckpoint, WeightsMissing
from headroom.weights.header import (
    INDEX,
    SINGLE,
    Header,
    TornFile,
    name_of,
    read_header,
    read_index,
    shards_without_index,
)

_DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "F8_E8M0": torch.float8_e8m0fnu, "I16": torch.int16,
    "U16": torch.uint16, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32,
    "U32": torch.uint32, "F32": torch.float32, "I64": torch.int64, "U64": torch.uint64,
    "F64": torch.float64, "C64": torch.complex64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a checkpoint as its header states it; `start` is its first byte in `file`."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int
    nbytes: int
    file: str


class Checkpoint:
    """The tensors of one folder, single file or shards. Opening it reads headers only.

    Wrappers added in training are removed from names: `module.` in front, `_orig_mod.` anywhere,
    and `model.` if all names start with it (except a language model's `lm_head.`).
    """

    def __init__(self, folder: Path, stored: Mapping[str, StoredTensor]) -> None:
        self.folder = folder
        self.stored: Mapping[str, StoredTensor] = MappingProxyType(dict(stored))
        self._maps: dict[str, mmap.mmap] = {}

    @classmethod
    def open(cls, folder: str | Path) -> Checkpoint:
        """Raises WeightsMissing without the folder, InvalidCheckpoint for damaged files."""
        folder = Path(folder)
        if not paths.is_dir(folder):
            how = f"fetch it with `acestep models download {folder.name}`"
            raise WeightsMissing(folder.name, [str(folder.parent)], how)
        return cls(folder, _plain_names(folder, _read(folder)))

    def tensor(self, key: str) -> Tensor:
        """The tensor of the file, mapped: no byte is read until it is used.

        Writing to it changes this process's copy only.
        """
        stored = self._known(key)
        mapped = self._map(stored.file)
        if stored.start + stored.nbytes > len(mapped):
            raise self._shorter(stored)
        return _view(mapped, stored)

    def read(self, key: str) -> Tensor:
        """The tensor of the file, read into its own memory.

        Use it for tensors that are converted: every page read through a mapping would stay in the
        process in addition to the result.
        """
        stored = self._known(key)
        raw = torch.empty(stored.nbytes, dtype=torch.uint8)
        for _ in self._pieces(stored, raw):  # one, which is as large as the tensor
            pass
        return raw.view(stored.dtype).view(stored.shape)

    def read_as(self, key: str, dtype: torch.dtype, room: Tensor) -> Tensor:
        """The tensor of the file in another type, each piece converted where it belongs.

        room  uint8, the memory of a piece; a multiple of 8 bytes. A piece that stays in the
              processor's cache is read from there by the conversion.
        """
        stored = self._known(key)
        flat = torch.empty(prod(stored.shape), dtype=dtype)
        done = 0
        for raw in self._pieces(stored, room):
            piece = raw.view(stored.dtype)
            flat[done : done + piece.numel()].copy_(piece)
            done += piece.numel()
        return flat.view(stored.shape)

    def _pieces(self, stored: StoredTensor, room: Tensor) -> Iterator[Tensor]:
        """The bytes of a tensor, read into `room` one piece after another."""
        try:
            with (self.folder / stored.file).open("rb") as file:
                file.seek(stored.start)
                for start in range(0, stored.nbytes, room.numel() or 1):
                    piece = room[: stored.nbytes - start]
                    if file.readinto(piece.numpy().data) < piece.nbytes:
                        raise self._shorter(stored)
                    yield piece
        except OSError as error:
            raise InvalidCheckpoint(self.folder, [f"{stored.file}: {error}"]) from error

    def expect(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """A floating-point tensor that belongs to no module, by name.

        Raises InvalidCheckpoint that names both shapes, or the kind of numbers found.
        """
        stored = self.stored.get(key)
        if stored is not None and (fault := mismatch(key, stored, shape)):
            raise InvalidCheckpoint(self.folder, [fault])
        return self.tensor(key)

    def below(self, prefix: str) -> Iterator[str]:
        """Full names that start with the prefix."""
        return (key for key in self.stored if key.startswith(prefix))

    def nbytes(self, prefix: str = "") -> int:
        """Bytes of all tensors below the prefix, as stored."""
        return sum(self.stored[key].nbytes for key in self.below(prefix))

    def close(self) -> None:
        """Release the files. Tensors already taken keep their own mapping."""
        self._maps.clear()

    def _known(self, key: str) -> StoredTensor:
        stored = self.stored.get(key)
        if stored is None:
            raise InvalidCheckpoint(self.folder, [f"{name_of(key)}: missing"])
        return stored

    def _shorter(self, stored: StoredTensor) -> InvalidCheckpoint:
        """The error for a file that became shorter after its header was read."""
        return InvalidCheckpoint(self.folder, [f"{stored.file}: has become shorter"])

    def _map(self, name: str) -> mmap.mmap:
        if name not in self._maps:
            try:
                with (self.folder / name).open("rb") as file:
                    # Copy on write: writing to a tensor never changes the file.
                    self._maps[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError) as error:
                raise InvalidCheckpoint(self.folder, [f"{name}: {error}"]) from error
        return self._maps[name]


def mismatch(
    key: str, stored: StoredTensor, shape: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> str | None:
    """Why a stored tensor does not have this shape and dtype's kind of numbers; None: it has."""
    if stored.shape != shape:
        return f"{name_of(key)}: {list(stored.shape)} in the file, the network wants {list(shape)}"
    return wrong_kind(key, stored, dtype)


def wrong_kind(key: str, stored: StoredTensor, dtype: torch.dtype) -> str | None:
    """The fault of a stored tensor whose kind of numbers differs from dtype's; else None."""
    has, wants = number_kind(stored.dtype), number_kind(dtype)
    if has == wants:
        return None
    return f"{name_of(key)}: {has} in the file, the network wants {wants}"


def number_kind(dtype: torch.dtype) -> str:
    """The kind of numbers a dtype holds, in words."""
    if dtype.is_floating_point:
        return "floating-point numbers"
    if dtype.is_complex:
        return "complex numbers"
    return "booleans" if dtype is torch.bool else "whole numbers"


def _view(mapped: mmap.mmap, stored: StoredTensor) -> Tensor:
    """A tensor over its bytes of the file, with its own storage that keeps the mapping alive.

    The mapping is never closed explicitly: torch would not notice.
    """
    if stored.nbytes == 0:
        return torch.empty(stored.shape, dtype=stored.dtype)
    if stored.start % stored.dtype.itemsize:  # the format does not guarantee alignment
        raw = torch.frombuffer(mapped, dtype=torch.uint8, offset=stored.start, count=stored.nbytes)
        return raw.clone().view(stored.dtype).view(stored.shape)
    count = stored.nbytes // stored.dtype.itemsize
    flat = torch.frombuffer(mapped, dtype=stored.dtype, offset=stored.start, count=count)
    return flat.view(stored.shape)


def _read(folder: Path) -> dict[str, StoredTensor]:
    for name in SINGLE:
        if paths.is_file(folder / name):
            return _stored(name, _header(folder, name))
    for name in INDEX:
        if paths.is_file(folder / name):
            return _read_shards(folder, name)
    tensors = _read_numbered(folder)
    if not tensors:
        files = ", ".join((*SINGLE, *INDEX))
        raise InvalidCheckpoint(folder, [f"holds no weights; one of {files} is needed"])
    return tensors


def _read_shards(folder: Path, index: str) -> dict[str, StoredTensor]:
    try:
        shards = read_index(folder / index)
    except TornFile as error:
        raise InvalidCheckpoint(folder, [str(error)]) from error
    absent = [name for name in sorted(set(shards.values())) if not paths.is_file(folder / name)]
    if absent:
        raise InvalidCheckpoint(folder, [f"{name}: named by {index}, not there" for name in absent])
    held = {name: _stored(name, _header(folder, name)) for name in sorted(set(shards.values()))}
    faults = [
        f"{name_of(key)}: not in {shard}, where {index} says it is"
        for key, shard in shards.items()
        if key not in held[shard]
    ]
    if faults:
        raise InvalidCheckpoint(folder, faults)
    everything = {key: stored for part in held.values() for key, stored in part.items()}
    return everything | {key: held[shard][key] for key, shard in shards.items()}


def _read_numbered(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of a full set of shards without an index; {} if there are none."""
    try:
        names = shards_without_index(folder)
    except TornFile as error:
        raise InvalidCheckpoint(folder, [str(error)]) from error
    absent = [f"{name}: missing" for name in names if not paths.is_file(folder / name)]
    if absent:
        raise InvalidCheckpoint(folder, absent)
    tensors: dict[str, StoredTensor] = {}
    for name in names:
        part = _stored(name, _header(folder, name))
        twice = sorted(tensors.keys() & part.keys())
        if twice:
            faults = [f"{name_of(key)}: in {tensors[key].file} and in {name}" for key in twice]
            raise InvalidCheckpoint(folder, faults)
        tensors |= part
    return tensors


def _header(folder: Path, name: str) -> Header:
    try:
        return read_header(folder / name)
    except TornFile as error:
        raise InvalidCheckpoint(folder, [str(error)]) from error


def _stored(file: str, header: Header) -> dict[str, StoredTensor]:
    return {
        key: StoredTensor(entry.shape, _DTYPES[entry.dtype], entry.start, entry.nbytes, file)
        for key, entry in header.entries.items()
    }


def _plain_names(folder: Path, stored: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors under the network's own names."""
    renamed: dict[str, StoredTensor] = {}
    twice = []
    for key, value in stored.items():
        name = _unwrapped(key)
        if name in renamed:
            twice.append(f"{name_of(name)}: there twice, as {name_of(key)} too")
        renamed[name] = value
    if twice:
        raise InvalidCheckpoint(folder, twice)
    wrapped = [key for key in renamed if not key.startswith("lm_head.")]
    if not wrapped or not all(key.startswith("model.") for key in wrapped):
        return renamed
    return {key.removeprefix("model."): value for key, value in renamed.items()}


def _unwrapped(key: str) -> str:
    """A name without the prefixes that `torch.compile` and parallel training add."""
    key = key.replace("_orig_mod.", "")
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return key
