"""Songs in other formats than they are stored in: made when asked for, and kept for the next time.

A child process converts, as that imports torch and runs codecs. What it made lies in the cache
folder under a name that says of what it was made; the oldest go when there are too many bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from headroom import paths
from headroom.audio.formats import FORMATS, KINDS, Format, container
from headroom.errors import InvalidRequest, StorageFailed
from headroom.files import parse_json
from headroom.jobs.files import File, Files
from headroom.storage.probe import kind_in
from headroom.units import GIB, MIB

FOLDER = "renditions"
MOST_BYTES = 2 * GIB
BITRATES = range(8, 513)  # kbit/s
_SECONDS = 120.0
_MAKING = "making-"  # begins the name of the folder of a conversion
_PIECE = MIB


@dataclass(frozen=True, slots=True)
class Rendition:
    """A file in another format: `hash` is its SHA-256, `kind` its media type."""

    path: Path
    hash: str
    size: int
    kind: str
    name: str

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to `stop`, in pieces. Raises StorageFailed."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                while start < stop and (piece := file.read(min(_PIECE, stop - start))):
                    start += len(piece)
                    yield piece
        except OSError as error:
            raise StorageFailed(error.strerror or type(error).__name__) from error


class Renditions:
    """The renditions that are kept in a folder, for any number of threads."""

    def __init__(self, folder: Path, most: int = MOST_BYTES) -> None:
        self._folder, self._most, self._lock = folder / FOLDER, most, Lock()

    def kept(self, file: File, format: Format, bitrate: int | None) -> Rendition | None:
        """A rendition that was made before; None: it has to be made."""
        for path in self._folder.glob(f"{_key(file, format, bitrate)}.*"):
            with suppress(OSError):  # another process may remove it just now
                os.utime(path)  # the ones used longest ago go first
                return _rendition(path, file, format)
        return None

    def made(self, files: Files, file: File, format: Format, bitrate: int | None) -> Rendition:
        """A rendition, made now unless it was made before; one at a time.

        Raises InvalidRequest for a format that cannot hold it, UnknownId, StorageFailed.
        """
        with self._lock:
            try:
                return self.kept(file, format, bitrate) or self._made(files, file, format, bitrate)
            except OSError as error:
                raise StorageFailed(error.strerror or type(error).__name__) from error

    def _made(self, files: Files, file: File, format: Format, bitrate: int | None) -> Rendition:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=_MAKING) as made:
            to = Path(made) / f"song.{container(format)}"
            with files.local(file.id) as source:
                _convert(source, to, format, bitrate)
            with to.open("rb") as done:
                digest = hashlib.file_digest(done, "sha256").hexdigest()
            path = self._folder / f"{_key(file, format, bitrate)}.{digest}"
            os.replace(to, path)
        made_now = _rendition(path, file, format)
        self._trim(made_now)
        return made_now

    def _trim(self, newest: Rendition) -> None:
        """Remove the renditions used longest ago, until the rest is not too large, and what a
        process that died was making."""
        kept = []
        for path in self._folder.iterdir():
            with suppress(OSError):
                last = path.stat()
                if path.name.startswith(_MAKING) and time.time() - last.st_mtime > 2 * _SECONDS:
                    shutil.rmtree(path)
                elif path != newest.path and paths.is_file(path):
                    kept.append((last.st_mtime, last.st_size, path))
        left = sum(size for _, size, _ in kept) + newest.size
        for _, size, path in sorted(kept):
            if left <= self._most:
                return
            with suppress(OSError):
                path.unlink()
                left -= size


def checked(format: str | None, bitrate: int | None) -> tuple[Format, int | None] | None:
    """The format and the bit rate to convert to; None: as it is stored. Raises InvalidRequest."""
    if bitrate is not None and bitrate not in BITRATES:
        raise InvalidRequest("bitrate", bitrate, f"{BITRATES[0]} to {BITRATES[-1]} kbit/s")
    if format is None:
        return None
    known = next((one for one in FORMATS if one == format), None)
    if known is None:
        raise InvalidRequest("format", format, "one of " + ", ".join(FORMATS))
    return known, bitrate if KINDS[known].bitrate is not None else None


def is_stored(file: File, format: Format) -> bool:
    """Whether a file is in a format already that has no variants."""
    return format == "flac" and file.kind == "audio/flac"


def _key(file: File, format: Format, bitrate: int | None) -> str:
    return f"{file.hash}-{format}-{bitrate or ''}"


def _rendition(path: Path, file: File, format: Format) -> Rendition:
    name = f"{Path(file.name).stem}.{container(format)}"
    kind = kind_in(path) or "application/octet-stream"
    return Rendition(path, path.name.rpartition(".")[2], path.stat().st_size, kind, name)


def _convert(source: Path, to: Path, format: str, bitrate: int | None) -> None:
    """Convert in a child process. Raises InvalidRequest, StorageFailed."""
    ask = [sys.executable, "-m", "headroom.service.convert"]
    given = json.dumps([str(source), str(to), format, bitrate]).encode()
    try:
        done = subprocess.run(ask, input=given, capture_output=True, timeout=_SECONDS, check=False)
        told = parse_json(done.stdout)
    except subprocess.TimeoutExpired:
        raise StorageFailed(f"a conversion took longer than {_SECONDS:g} s") from None
    except ValueError as error:
        raise StorageFailed("the process that converts has ended") from error
    if isinstance(told, dict) and "why" in told:
        raise InvalidRequest("format", format, f"a format that can hold it: this one {told['why']}")
