"""Read from a safetensors file's first bytes what it holds, without torch or tensor data.

Layout of the format: 8 bytes little-endian length N, N bytes of JSON, then the data. The header
says where every tensor ends, so a truncated file is recognised without reading the data. Source:
the safetensors format description.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, TypeGuard

from headroom import paths
from headroom.errors import InvalidFile, shown
from headroom.files import LFS_WHY, is_lfs_pointer, open_regular, parse_json, read_json
from headroom.units import MIB, gib

SINGLE = ("model.safetensors", "diffusion_pytorch_model.safetensors")
INDEX = tuple(f"{name}.index.json" for name in SINGLE)

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_FORMATS_LIMIT = 100_000_000
# The largest header of a released model has 150 KB, and a parsed header takes thirty times its
# size in memory.
LARGEST_HEADER = 2 * MIB
_LARGEST_INDEX = 2 * MIB
_MOST_SHARDS = 1000
_MOST_DIMS = 8
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


class TornFile(Exception):
    """A file that is not a complete safetensors file, or not a valid index; one sentence."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file: its shape, the format's name for its dtype, where its bytes are.

    `start` counts from the beginning of the file.
    """

    shape: tuple[int, ...]
    dtype: str
    start: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """The contents a file declares. `file_bytes` is the size it must have to hold them."""

    entries: Mapping[str, TensorEntry]
    file_bytes: int


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against the file's size; raises TornFile."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            raw = _raw_header(path.name, file, size)
    except InvalidFile as error:
        raise TornFile(f"{path.name}: {error.why}") from error
    except OSError as error:
        raise TornFile(f"{path.name}: {error.strerror or error}") from error
    length = len(raw)
    entries, data_bytes = _parse(path.name, raw, 8 + length)
    whole = 8 + length + data_bytes
    if size != whole:
        fault = "cut off" if size < whole else "longer than its header says"
        raise TornFile(f"{path.name}: {fault}, {size} of {whole} bytes")
    return Header(MappingProxyType(entries), whole)


def read_index(path: Path) -> dict[str, str]:
    """Tensor name → shard name from an index.json; raises TornFile. Only the index is read."""
    try:
        value = read_json(path, _LARGEST_INDEX)
    except InvalidFile as error:
        raise TornFile(f"{path.name}: {error.why}") from error
    shards = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise TornFile(f"{path.name}: no weight_map that names a shard for each tensor")
    for key, shard in shards.items():
        # The name is untrusted: it may only name a file in the same folder as the index.
        if not isinstance(shard, str) or not shard.endswith(".safetensors") or _leaves(shard):
            raise TornFile(
                f"{path.name}: {shown(key)} is said to lie in {shown(shard)}, not in a shard here"
            )
    return shards


def name_of(key: str) -> str:
    """A tensor's name for a message: unchanged if printable, else escaped."""
    return key if key.isprintable() and len(key) <= 120 else shown(key, 120)


def weight_files(folder: Path) -> tuple[str, ...]:
    """Names of the safetensors files that hold a folder's weights, whether present or missing.

    A single file is preferred to an index beside it, and an index to shards without one. Empty: the
    folder holds none of these. Raises TornFile for an index that cannot be read.
    """
    for name in SINGLE:
        if paths.is_file(folder / name):
            return (name,)
    for name in INDEX:
        if paths.is_file(folder / name):
            return tuple(sorted(set(read_index(folder / name).values())))
    return shards_without_index(folder)


def shards_without_index(folder: Path) -> tuple[str, ...]:
    """All shards of the set in a folder, by the numbers in their names (`-00001-of-00003`).

    Shards that the numbers imply but that are missing are included. Empty: there are no shards.
    Raises TornFile if there is more than one set.
    """
    try:
        matches = [m for m in map(_SHARD.fullmatch, sorted(p.name for p in folder.iterdir())) if m]
    except OSError as error:
        raise TornFile(f"{folder.name}: {error.strerror or error}") from error
    sets = sorted({(m[1], int(m[3])) for m in matches})
    if not sets:
        return ()
    stem, count = sets[0]
    if len(sets) > 1 or not 1 <= count <= _MOST_SHARDS:
        examples = ", ".join(m[0] for m in matches[:3])
        raise TornFile(f"{examples}: not one set of up to {_MOST_SHARDS} shards, and no index")
    return tuple(f"{stem}-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1))


def _leaves(name: str) -> bool:
    return "/" in name or "\\" in name or ":" in name or name.startswith(".")


def _raw_header(name: str, file: BinaryIO, size: int) -> bytes:
    head = file.read(64)
    if is_lfs_pointer(head):
        raise TornFile(f"{name}: {LFS_WHY}")
    length = int.from_bytes(head[:8], "little")
    if size < 8:
        raise TornFile(f"{name}: {size} bytes, too short to be a safetensors file")
    if not 2 <= length <= _FORMATS_LIMIT:
        raise TornFile(f"{name}: not a safetensors file (header of {length} bytes)")
    if 8 + length > size:
        raise TornFile(f"{name}: cut off in its header, {size} of at least {8 + length} bytes")
    if length > LARGEST_HEADER:
        raise TornFile(
            f"{name}: a header of {gib(length)}, more than any model has; up to "
            f"{gib(LARGEST_HEADER)} is read"
        )
    file.seek(8)
    return file.read(length)


def _parse(name: str, raw: bytes, data: int) -> tuple[dict[str, TensorEntry], int]:
    try:
        table = parse_json(raw)
    except ValueError as error:
        raise TornFile(f"{name}: header is not JSON ({error})") from error
    if not isinstance(table, dict):
        raise TornFile(f"{name}: header holds no object")
    entries: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int]] = []
    for key, value in table.items():
        if key != "__metadata__":
            entries[key], span = _entry(name, key, value, data)
            spans.append(span)
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise TornFile(f"{name}: header leaves a gap or an overlap at byte {end} of the data")
        end = stop
    return entries, end


def _entry(name: str, key: str, value: object, data: int) -> tuple[TensorEntry, tuple[int, int]]:
    if isinstance(value, dict):
        dtype, shape, span = value.get("dtype"), value.get("shape"), value.get("data_offsets")
        if isinstance(dtype, str) and dtype in _BITS and _counts(shape) and _counts(span):
            start, stop = span if len(span) == 2 else (0, -1)
            if stop - start == prod(shape) * _BITS[dtype] // 8:
                return TensorEntry(tuple(shape), dtype, data + start, stop - start), (start, stop)
    raise TornFile(f"{name}: header describes {shown(key)} as {shown(value)}, which cannot be")


def _counts(value: object) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) <= _MOST_DIMS
        and all(type(n) is int and 0 <= n < 1 << 63 for n in value)
    )
