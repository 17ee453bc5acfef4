"""Decoding of m4a, mp4, aac, webm and similar files, by PyAV in a separate process.

FFmpeg's demuxers are large and the files are untrusted: the child process has a time limit and,
where the system supports it, a memory limit, and its output is checked here. It opens no files
itself: it gets the open file as its standard input, and the demuxer is chosen here from the first
bytes.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path
from threading import Timer
from typing import Any, cast

import numpy as np

from headroom.audio.formats import GET_MEDIA, READABLE, has_media
from headroom.audio.layout import Places, wave_places
from headroom.audio.sound import Block, OpenSound
from headroom.errors import InvalidSource

SECONDS = 120.0  # for a whole file; ten minutes of sound take a few seconds
_CHILD = Path(__file__).with_name("media_child.py")
_MOST_MESSAGE = 1 << 24  # bytes
_SLACK = 3 * 2048  # frames that an encoder adds at both ends
_CHANNELS = range(1, 65)


def is_media(file: BufferedReader) -> bool:
    """Whether the file is of a kind that is decoded here, by its first bytes."""
    return _demuxer(file) is not None


def _demuxer(file: BufferedReader) -> str | None:
    file.seek(0)
    head = file.read(12)
    file.seek(0)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    # MPEG audio stores its layer in two bits that are 0 in AAC.
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    return None


@contextmanager
def open_media(file: BufferedReader, path: str | Path, field: str) -> Iterator[OpenSound]:
    """The file, from its first sample. Raises InvalidSource, also if PyAV is not installed."""
    if not has_media():
        why = f"is read through PyAV, which is not installed here ({GET_MEDIA})"
        raise InvalidSource(field, path, why, READABLE)
    child = _Child(file, path, field)
    try:
        header = child.header()
        yield OpenSound(
            rate=header.rate,
            places=header.places,
            promised=header.frames,
            slack=_SLACK,
            floating=False,
            whole=False,
            remarks=(),
            blocks=lambda: child.blocks(len(header.places), header.frames),
        )
    finally:
        child.close()


class _Header:
    """The child's first message: the properties of the file. Raises ValueError if malformed."""

    def __init__(self, text: bytes) -> None:
        fields: dict[str, Any] = json.loads(text)
        self.rate = int(fields["rate"])
        names = [str(name) for name in fields["places"]]
        if len(names) not in _CHANNELS or self.rate < 1:
            raise ValueError(f"{len(names)} channels at {self.rate} Hz")
        places: Places = tuple(names)
        self.places = places if all(places) else wave_places(len(names))
        self.frames = None if fields["frames"] is None else int(fields["frames"])


class _Child:
    def __init__(self, file: BufferedReader, path: str | Path, field: str) -> None:
        self._path, self._field, self._late = path, field, False
        cast("RawIOBase", file.raw).seek(0)  # the descriptor itself, which the child gets
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD), str(_demuxer(file)), str(int(SECONDS))],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._timer = Timer(SECONDS, self._stop)
        self._timer.daemon = True
        self._timer.start()

    def _stop(self) -> None:
        self._late = True
        self._process.kill()

    def close(self) -> None:
        self._timer.cancel()
        self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def header(self) -> _Header:
        kind, body = self._message()
        try:
            return _Header(body if kind == b"H" else b"")
        except (ValueError, KeyError, TypeError) as error:
            raise self._refused("its header is not understood") from error

    def blocks(self, channels: int, most: int | None) -> Iterator[Block]:
        """Decoded blocks, up to `most`, the frames that the header gives: the rest is padding."""
        left = sys.maxsize if most is None else most
        while left > 0:
            kind, body = self._message()
            if kind == b"D":
                return
            if kind != b"S" or len(body) % (4 * channels):
                raise self._refused("its sound is not understood")
            block = np.frombuffer(body, np.float32).reshape(-1, channels)[:left]
            left -= len(block)
            yield block

    def _message(self) -> tuple[bytes, bytes]:
        out = self._process.stdout
        if out is None:
            raise self._refused("nothing was decoded")
        head = out.read(5)
        size = struct.unpack("<I", head[1:])[0] if len(head) == 5 else _MOST_MESSAGE + 1
        body = out.read(size) if size <= _MOST_MESSAGE else b""
        if len(body) != size:
            ended = f"took longer than {SECONDS:g} s" if self._late else "the decoder ended"
            raise self._refused(ended)
        if head[:1] == b"E":
            raise self._refused(body[:200].decode("utf-8", "replace"))
        return head[:1], body

    def _refused(self, why: str) -> InvalidSource:
        why = f"cannot be read as audio ({why})"
        return InvalidSource(self._field, self._path, why, READABLE)
