"""Queries about paths (`exists`, `is_dir`, …) that do not raise for unreadable or invalid paths.

`Path.exists`, `is_dir` and `is_file` raise for a folder without search permission, for a name that
is too long and, in some versions of Python, for a name that contains NUL; `expanduser` and `home`
raise if there is no home folder. The functions here return False, or raise one of our own errors.
`scripts/check` forbids these methods of `Path` in the rest of the program.
"""

from __future__ import annotations

import os
from pathlib import Path

from headroom.errors import InvalidRequest


def exists(path: str | Path) -> bool:
    """Whether the path exists; False if that cannot be determined."""
    return os.path.exists(path)


def is_dir(path: str | Path) -> bool:
    """Whether the path is a folder; False if that cannot be determined."""
    return os.path.isdir(path)


def is_file(path: str | Path) -> bool:
    """Whether the path is a regular file; False if that cannot be determined."""
    return os.path.isfile(path)


def is_symlink(path: str | Path) -> bool:
    """Whether the path is a symbolic link; False if that cannot be determined."""
    return os.path.islink(path)


def resolved(path: str | Path) -> Path:
    """The path with links and `..` resolved as far as possible. Raises ValueError for a NUL."""
    return Path(os.path.realpath(path))


def expanded(text: str | Path, field: str) -> Path:
    """The path with a leading `~` or `~user` replaced by the home folder.

    Raises InvalidRequest, naming `field`, if there is no such home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        allowed = "a path whose home folder is known (write it out, without ~)"
        raise InvalidRequest(field, str(text), allowed) from error


def home() -> Path | None:
    """The home folder of the user; None if the system does not report one."""
    try:
        return Path.home()
    except RuntimeError:
        return None
