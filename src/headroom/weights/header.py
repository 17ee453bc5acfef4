"""What a safetensors file holds, read from its first bytes. No torch, no tensor data.

Layout of the format: 8 bytes little-endian length N, N bytes of JSON, then the data. The header
says where every tensor ends, so a file that was cut off is told from a whole one without reading
it. Source: the safetensors format description.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TypeGuard

from headroom import paths

SINGLE = ("model.safetensors", "diffusion_pytorch_model.safetensors")
INDEX = tuple(f"{name}.index.json" for name in SINGLE)

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_LARGEST_HEADER = 100 << 20  # the format's own limit


class TornFile(Exception):
    """A file that is not a whole safetensors file, or an index that is not one; one sentence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a file: its shape, the format's name of its type, where its bytes are.

    `start` counts from the beginning of the file.
    """

    shape: tuple[int, ...]
    dtype: str
    start: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says it holds. `file_bytes` is the size it must have to hold it."""

    entries: Mapping[str, Entry]
    file_bytes: int


def read_header(path: Path) -> Header:
    """The header of a safetensors file, held against the file's size; raises TornFile."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8:
                raise TornFile(f"{path.name}: {size} bytes, too short to be a safetensors file")
            if not 2 <= length <= _LARGEST_HEADER:
                raise TornFile(f"{path.name}: not a safetensors file (header of {length} bytes)")
            if 8 + length > size:
                raise TornFile(
                    f"{path.name}: cut off in its header, {size} of at least {8 + length} bytes"
                )
            raw = file.read(length)
    except OSError as error:
        raise TornFile(f"{path.name}: {error.strerror or error}") from error
    entries, data_bytes = _parse(path.name, raw, 8 + length)
    whole = 8 + length + data_bytes
    if size != whole:
        fault = "cut off" if size < whole else "longer than its header says"
        raise TornFile(f"{path.name}: {fault}, {size} of {whole} bytes")
    return Header(MappingProxyType(entries), whole)


def read_index(path: Path) -> dict[str, str]:
    """Tensor name → shard name of an index.json; raises TornFile. No file but the index is read."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TornFile(f"{path.name}: {error.strerror or error}") from error
    except ValueError as error:
        raise TornFile(f"{path.name}: not JSON ({error})") from error
    shards = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise TornFile(f"{path.name}: no weight_map that names a shard for each tensor")
    for key, shard in shards.items():
        # The name comes from outside: it may only name a neighbour of the index.
        if not isinstance(shard, str) or not shard.endswith(".safetensors") or _leaves(shard):
            raise TornFile(f"{path.name}: {key} is said to lie in {shard!r}, not in a shard here")
    return shards


def weight_files(folder: Path) -> tuple[str, ...]:
    """Names of the safetensors files a folder's weights are in, whether or not they are there.

    A single file is preferred to an index beside it. Empty: the folder holds neither.
    Raises TornFile for an index that cannot be read.
    """
    for name in SINGLE:
        if paths.is_file(folder / name):
            return (name,)
    for name in INDEX:
        if paths.is_file(folder / name):
            return tuple(sorted(set(read_index(folder / name).values())))
    return ()


def _leaves(name: str) -> bool:
    return "/" in name or "\\" in name or ":" in name or name.startswith(".")


def _parse(name: str, raw: bytes, data: int) -> tuple[dict[str, Entry], int]:
    try:
        table = json.loads(raw)
    except ValueError as error:
        raise TornFile(f"{name}: header is not JSON ({error})") from error
    if not isinstance(table, dict):
        raise TornFile(f"{name}: header holds no object")
    entries: dict[str, Entry] = {}
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


def _entry(name: str, key: str, value: object, data: int) -> tuple[Entry, tuple[int, int]]:
    fault = TornFile(f"{name}: header describes {key!r} as {str(value)[:80]}, which cannot be")
    if not isinstance(value, dict):
        raise fault
    dtype, shape, span = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise fault
    if not _counts(shape) or not _counts(span) or len(span) != 2:
        raise fault
    start, stop = span
    if stop - start != prod(shape) * _BITS[dtype] // 8:
        raise fault
    return Entry(tuple(shape), dtype, data + start, stop - start), (start, stop)


def _counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value
    )
