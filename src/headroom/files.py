"""Safe reading of untrusted text and JSON files: regular files only, up to a size limit.

All text and JSON documents are read here. A pipe or a device is refused without blocking. Text is
UTF-8, with or without a byte order mark. Anything that cannot be read raises InvalidFile; callers
put its `why` into a message that names their field.
"""

from __future__ import annotations

import json
import os
import stat
from io import BufferedReader
from pathlib import Path

from headroom.errors import InvalidFile
from headroom.units import KIB, MIB, gib

TEXT_BYTES = MIB  # for hand-written text: a hundred times the longest lyrics
# Python needs up to 12 bytes per byte of JSON (`[[],[],…`): 8 MiB need about 100 MB at most.
JSON_BYTES = 8 * MIB
CONFIG_BYTES = MIB
ENV_BYTES = 256 * KIB
LINES_BYTES = 16 * MIB  # one record per line, each parsed separately

_LFS = b"version https://git-lfs.github.com/"
_KINDS = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading bytes. Raises InvalidFile for anything else."""
    # Non-blocking, because it may have become a pipe since it was checked.
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        _check_kind(path, os.stat(path).st_mode)
        descriptor = os.open(path, flags | getattr(os, "O_NOCTTY", 0))
    except OSError as error:
        raise InvalidFile(path, _reason(error), missing=_is_missing(error)) from error
    except ValueError as error:  # a NUL, or a surrogate that no file name can hold
        raise InvalidFile(path, "is not a name a file can have") from error
    file = os.fdopen(descriptor, "rb")
    try:
        _check_kind(path, os.fstat(descriptor).st_mode)
    except InvalidFile:
        file.close()
        raise
    return file


def read_bytes(path: Path, limit: int) -> bytes:
    """All bytes of a regular file of at most `limit` bytes.

    Raises InvalidFile, also for the pointer that git-lfs leaves in a file's place.
    """
    with open_regular(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > limit else file.read(limit + 1) or b""
        except OSError as error:
            raise InvalidFile(path, _reason(error)) from error
    if max(size, len(data)) > limit:
        raise InvalidFile(path, f"is larger than {gib(limit)}, the most that is read")
    if is_lfs_pointer(data):
        raise InvalidFile(path, LFS_WHY)
    return data


def read_text(path: Path, limit: int = TEXT_BYTES) -> str:
    """The text of a UTF-8 file, without a byte order mark; line endings are unchanged.

    Raises InvalidFile.
    """
    data = read_bytes(path, limit)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        why = f"is not UTF-8 text (byte {error.object[error.start]:#04x} at {error.start})"
        raise InvalidFile(path, why) from error
    if "\0" in text:
        raise InvalidFile(path, f"is not text (a NUL at character {text.index(chr(0))})")
    return text


def read_json(path: Path, limit: int = JSON_BYTES) -> object:
    """The contents of a JSON file. Raises InvalidFile."""
    text = read_text(path, limit)
    try:
        return parse_json(text)
    except ValueError as error:
        raise InvalidFile(path, f"is not JSON: {error}") from error


def parse_json(text: str | bytes) -> object:
    """Parse JSON as `json.loads` does. Raises ValueError for anything that it cannot read.

    This includes nesting that is too deep, and numbers with more digits than Python accepts.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except ValueError as error:
        raise ValueError("it holds a number of too many digits") from error


LFS_WHY = "is a git-lfs pointer, not the file itself (`git lfs pull` fetches that)"


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file that begins with `head` is a git-lfs pointer instead of the file itself."""
    return head.startswith(_LFS)


def _check_kind(path: Path, mode: int) -> None:
    for is_kind, words in _KINDS:
        if is_kind(mode):
            raise InvalidFile(path, f"{words}, not a file")


def _is_missing(error: OSError) -> bool:
    return isinstance(error, (FileNotFoundError, NotADirectoryError))


def _reason(error: OSError) -> str:
    return "is not there" if _is_missing(error) else f"cannot be read ({error.strerror or error})"
