"""Parsing and patching of audio containers (RIFF, AIFF, Ogg, mp3) where libsndfile falls short.

It handles files that are truncated or were never closed, chained streams, and channel masks, and
removes bytes that would differ between two writes of the same sound. Sources: RIFF/WAVE and AIFF
chunk layout; RFC 3533 (Ogg pages).
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import mutagen.ogg

_ENDIAN = {b"RIFF": "<", b"RIFX": ">", b"FORM": ">"}
_SOUND = (b"data", b"SSND")
_UNKNOWN = 0x7FFFF000  # sizes from here on mean: written to a pipe, length unknown
_ogg: Any = mutagen.ogg  # its classes are untyped
_PAGE = 27 + 255 + 255 * 255  # bytes of the largest Ogg page
_MOST_PAGES, _MOST_CHUNKS = 1 << 18, 1 << 12
_MASK_TAG = re.compile(rb"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0[xX]([0-9a-fA-F]{1,8})")
_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """A byte range of a file, from `start`, that a codec reads as a file of its own; `patches`:
    replacement bytes, each with its offset in the part."""

    start: int
    size: int
    patches: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """What the structure of a file shows without decoding.

    parts       streams that follow one another; more than one only in a chained Ogg file
    torn        why the file is incomplete and cannot be read, in words
    remarks     what is unusual, and how it is handled
    mask        the loudspeakers of its channels (WAVEFORMATEXTENSIBLE), 0: not given
    has_length  for an mp3: whether its header gives the length
    """

    parts: tuple[Part, ...]
    torn: str = ""
    remarks: tuple[str, ...] = ()
    mask: int = 0
    has_length: bool = True


def layout(file: BinaryIO) -> Layout:
    """Check the size of the sound in wav and aiff, the pages of an Ogg file, and the first frame
    of an mp3. A truncated FLAC or mp3 can only be detected by decoding it."""
    size = file.seek(0, os.SEEK_END)
    whole = Part(0, size)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"OggS":
        return Layout(_links(file, size), torn=_torn_page(file, size) or "")
    if head[:4] == b"fLaC":
        return Layout((whole,), mask=_flac_mask(file))
    if head[:4] in _ENDIAN:
        return _of_chunks(file, size, _ENDIAN[head[:4]])
    return Layout((whole,), has_length=_mp3_has_length(file))


def _of_chunks(file: BinaryIO, size: int, endian: str) -> Layout:
    mask, parts = 0, (Part(0, size),)
    remarks: tuple[str, ...] = ()
    for chunk in _chunks(file):
        if chunk.name == b"fmt ":
            mask = _wave_mask(file, chunk)
        if chunk.name not in _SOUND:
            continue
        present = size - chunk.start
        if chunk.name == b"data" and not chunk.size and _is_sound(file, chunk.start, size, endian):
            filled = struct.pack(f"{endian}I", min(present, _UNKNOWN - 1))
            parts = (Part(0, size, ((chunk.start - 4, filled),)),)
            remarks = ("was never closed by its recorder",)
        elif present < chunk.size < _UNKNOWN:
            remarks = (f"is cut short: {present} of {chunk.size} bytes of sound are there",)
        break
    return Layout(parts, remarks=remarks, mask=mask)


def _is_sound(file: BinaryIO, start: int, size: int, endian: str) -> bool:
    """Whether an empty sound chunk is followed by samples rather than by more chunks."""
    while start + 8 <= size:
        file.seek(start)
        name, length = struct.unpack(f"{endian}4sI", file.read(8))
        if not name.isascii() or not name.decode("ascii").isprintable():
            return True
        start += 8 + length + length % 2
    return start not in (size, size + 1)


def _wave_mask(file: BinaryIO, chunk: _Chunk) -> int:
    file.seek(chunk.start)
    body = file.read(min(chunk.size, 24))
    if len(body) < 24 or body[:2] != b"\xfe\xff":
        return 0
    return int.from_bytes(body[20:24], "little")


def _flac_mask(file: BinaryIO) -> int:
    file.seek(0)
    match = _MASK_TAG.search(file.read(_HEAD))
    return int(match.group(1), 16) if match else 0


def _mp3_has_length(file: BinaryIO) -> bool:
    """Whether the first frame is a Xing or Info tag; without one the length is only an estimate."""
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:  # its size has seven bits per byte
        start = 10 + sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(head[6:]))
    file.seek(start)
    first = file.read(2048)
    return b"Xing" in first or b"Info" in first


def _links(file: BinaryIO, size: int) -> tuple[Part, ...]:
    """The consecutive streams of an Ogg file; nearly every file has just one."""
    file.seek(0)
    first = file.read(27)[14:18]
    tail = max(0, size - _PAGE)
    file.seek(tail)
    last = file.read()
    at = last.rfind(b"OggS\0")
    if at < 0 or last[at + 14 : at + 18] == first:
        return (Part(0, size),)
    starts = [0]
    fresh, start = True, 0  # whether the pages so far only open streams
    for _ in range(_MOST_PAGES):
        file.seek(start)
        head = file.read(27)
        if len(head) < 27 or head[:4] != b"OggS":
            break
        opens = bool(head[5] & 2)
        if opens and not fresh:
            starts.append(start)
        fresh = opens
        start += 27 + head[26] + sum(file.read(head[26]))
    return tuple(Part(a, b - a) for a, b in pairwise((*starts, size)))


def settle(path: Path) -> None:
    """Make the bytes depend on the sound alone: no timestamp (wav32), no random serial (Ogg)."""
    with path.open("r+b") as file:
        if file.read(4) == b"OggS":
            _set_serial(file)
        for chunk in _chunks(file):
            if chunk.name == b"PEAK":  # version, then seconds since 1970
                file.seek(chunk.start + 4)
                file.write(bytes(4))


def _chunks(file: BinaryIO) -> Iterator[_Chunk]:
    """The chunks of a RIFF or FORM file, in order; nothing for any other file."""
    file.seek(0)
    endian = _ENDIAN.get(file.read(12)[:4])
    start = 12
    for _ in range(_MOST_CHUNKS if endian else 0):
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        name, size = struct.unpack(f"{endian}4sI", head)
        yield _Chunk(name, start + 8, size)
        start += 8 + size + size % 2


def _torn_page(file: BinaryIO, size: int) -> str | None:
    start = max(0, size - _PAGE)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS\0")
    if at < 0:
        return None
    page = tail[at:]
    segments = page[26] if len(page) > 26 else 255
    lacing = page[27 : 27 + segments]
    whole = 27 + segments + sum(lacing)
    if len(lacing) < segments or len(page) < whole:
        return "is cut short: its last Ogg page is not whole"
    return None


def _set_serial(file: BinaryIO) -> None:
    """Replace the random serial number of the stream by one derived from its contents."""
    pages: list[tuple[int, Any]] = []
    serial = 0
    file.seek(0)
    while True:
        at = file.tell()
        try:
            page = _ogg.OggPage(file)
        except EOFError:
            break
        pages.append((at, page))
        for packet in page.packets:
            serial = zlib.crc32(packet, serial)
    for at, page in pages:
        page.serial = serial
        file.seek(at)
        file.write(page.write())
