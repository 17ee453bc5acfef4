"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from headroom import paths
from headroom.errors import InvalidOutput
from headroom.units import KIB, gib

_FULL = 64 * KIB
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@contextmanager
def replacing(path: str | Path, field: str = "output") -> Iterator[Path]:
    """A new, empty file beside `path` to write to; on leaving, it takes the place of `path`.

    Missing folders are made, a link is followed to what it names. When anything goes wrong, an
    interruption from the keyboard included, the new file and new folders are removed and `path`
    is as it was. Raises InvalidOutput for an OSError, here or in the block, and for a `path` that
    is a folder or a device.
    """
    target = _target(path, field)
    made: list[Path] = []
    temp = target.parent / f".headroom-{uuid4().hex}.part"
    try:
        _make_folders(target.parent, made)
        temp.open("xb").close()
        yield temp
        with temp.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(temp, target)
    except OSError as error:
        why = _why(error, target.parent)  # asked while the torn file still fills the disk
        _remove(temp, made)
        raise InvalidOutput(field, path, why, "a place that can be written to") from error
    except BaseException:
        _remove(temp, made)
        raise


def write_json(path: str | Path, value: object, field: str = "output") -> Path:
    """Write `value` as JSON (UTF-8, indented by one, in its own order), whole or not at all.

    Raises InvalidOutput as `replacing` does; ValueError or TypeError for what JSON cannot hold,
    NaN included.
    """
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    with replacing(path, field) as temp:
        temp.write_bytes(text.encode("utf-8") + b"\n")
    return Path(path)


def _target(path: str | Path, field: str) -> Path:
    allowed = "the name of a file"
    try:
        target = paths.resolved(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            target.stat()  # raises for a name too long, and in a folder that may not be entered
        folder, other = paths.is_dir(target), paths.exists(target) and not paths.is_file(target)
    except (OSError, ValueError) as error:
        raise InvalidOutput(field, path, f"is no usable name ({error})", allowed) from error
    if folder:
        raise InvalidOutput(field, path, "is a folder", allowed)
    if other:
        raise InvalidOutput(field, path, "is not a regular file", allowed)
    return target


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make `folder` and what is missing above it; `made` lists the new ones, outermost first."""
    missing = [f for f in (folder, *folder.parents) if not paths.exists(f)]
    for step in reversed(missing):
        step.mkdir(exist_ok=True)
        made.append(step)


def _remove(temp: Path, made: list[Path]) -> None:
    with suppress(OSError):
        temp.unlink(missing_ok=True)
    for folder in reversed(made):
        with suppress(OSError):  # somebody else has put something there
            folder.rmdir()


def _why(error: OSError, folder: Path) -> str:
    """The reason in words. A codec loses the number of the error: ask the disk as well."""
    free = None
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
    if error.errno in _NO_ROOM or (free is not None and free < _FULL):
        left = "" if free is None else f" ({gib(free)} free)"
        return f"cannot be written: no room is left on the disk{left}"
    return f"cannot be written ({error.strerror or error})"
