"""Questions about paths that are answered, never raised at.

`Path.exists`, `is_dir` and `is_file` raise for a folder that may not be entered, for a name that is
too long and, in some versions of Python, for a NUL in it; `expanduser` and `home` raise where there
is no home folder. The functions here answer False, or raise an error of ours. `scripts/check` keeps
the methods of `Path` out of the rest of the program.
"""

from __future__ import annotations

import os
from pathlib import Path

from headroom.errors import InvalidRequest


def exists(path: str | Path) -> bool:
    """Whether something is there, as far as can be seen from here."""
    return os.path.exists(path)


def is_dir(path: str | Path) -> bool:
    """Whether it is a folder, as far as can be seen from here."""
    return os.path.isdir(path)


def is_file(path: str | Path) -> bool:
    """Whether it is a regular file, as far as can be seen from here."""
    return os.path.isfile(path)


def is_symlink(path: str | Path) -> bool:
    """Whether it is a symbolic link, as far as can be seen from here."""
    return os.path.islink(path)


def resolved(path: str | Path) -> Path:
    """The path without links and `..`, as far as they can be followed. Raises ValueError for a
    NUL."""
    return Path(os.path.realpath(path))


def expanded(text: str | Path, field: str) -> Path:
    """The path with the home folder in the place of a leading `~` or `~user`.

    Raises InvalidRequest naming `field` where there is no such home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        allowed = "a path whose home folder is known (write it out, without ~)"
        raise InvalidRequest(field, str(text), allowed) from error


def home() -> Path | None:
    """The home folder of the user; None where the system does not know one."""
    try:
        return Path.home()
    except RuntimeError:
        return None
