"""Bytes of audio containers that the codec library does not look after.

Files cut short that it would take for whole ones, and bytes that differ from one writing to the
next. Sources: RIFF/WAVE and AIFF chunk layout; RFC 3533 (Ogg pages).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import mutagen.ogg

_ENDIAN = {b"RIFF": "<", b"RIFX": ">", b"FORM": ">"}
_SOUND = (b"data", b"SSND")
_UNKNOWN = 0x7FFFF000  # from here on a size means: written to a pipe, length not known
_ogg: Any = mutagen.ogg  # its classes have no types
_PAGE = 27 + 255 + 255 * 255  # bytes of the longest Ogg page


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    start: int
    size: int


def cut_short(path: Path) -> str | None:
    """Why the file is not whole, in words; None where nothing is seen from its structure.

    Looks at the size of the sound in wav and aiff, and at the last page of an Ogg file. Files
    of unknown length (written to a pipe) are whole. FLAC and mp3 show it only when decoded.
    """
    size = os.path.getsize(path)
    with path.open("rb") as file:
        if file.read(4) == b"OggS":
            return _torn_page(file, size)
        for chunk in _chunks(file):
            there = size - chunk.start
            if chunk.name in _SOUND and there < chunk.size < _UNKNOWN:
                return f"is cut short: {there} of {chunk.size} bytes of sound are there"
    return None


def settle(path: Path) -> None:
    """Make the file a function of its sound: no time of day (wav32), no random number (Ogg)."""
    with path.open("r+b") as file:
        if file.read(4) == b"OggS":
            _set_serial(file)
        for chunk in _chunks(file):
            if chunk.name == b"PEAK":  # version, then seconds since 1970
                file.seek(chunk.start + 4)
                file.write(bytes(4))


def _chunks(file: BinaryIO) -> Iterator[_Chunk]:
    """The chunks of a RIFF or FORM file, in order; none of any other file."""
    file.seek(0)
    endian = _ENDIAN.get(file.read(12)[:4])
    start = 12
    while endian:
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
    """Give the stream a serial number that follows from its contents; it was a random one."""
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
