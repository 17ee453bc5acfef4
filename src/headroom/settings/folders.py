"""Where files go if no setting names a folder, by each system's convention."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from headroom import paths
from headroom.errors import InvalidRequest


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder for files that can be made or fetched again.

    Raises InvalidRequest if the system has no home folder to put it in.
    """
    base = _base(environ, "XDG_CACHE_HOME", ("Library", "Caches"), (".cache",))
    if base is None:
        allowed = "the path of a folder; it has to be named, as no home folder is known here"
        raise InvalidRequest("HEADROOM_CACHE_DIR", None, allowed)
    return base / "headroom"


def checkpoints_folder(cache: Path) -> Path:
    """The folder of the model folders: that of the working folder if there is one."""
    local = Path("checkpoints")
    return local if paths.is_dir(local) else cache / "checkpoints"


def data_folder(environ: Mapping[str, str]) -> Path:
    """The folder for what must not be lost; `headroom-data` in the working folder if the system has
    no home folder."""
    macos = ("Library", "Application Support")
    base = _base(environ, "XDG_DATA_HOME", macos, (".local", "share"))
    if base is None:
        return Path("headroom-data")
    # Windows has one folder for both, and the cache is in `headroom`.
    return base / "headroom" / "data" if sys.platform == "win32" else base / "headroom"


def _base(
    environ: Mapping[str, str], variable: str, macos: tuple[str, ...], others: tuple[str, ...]
) -> Path | None:
    """The folder that the system's variable names, else the one in the home folder; None if there
    is neither."""
    named = environ.get({"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, variable))
    if named:
        return Path(named)
    home = paths.home()
    if home is None:
        return None
    windows = ("AppData", "Local")
    return home.joinpath(*{"win32": windows, "darwin": macos}.get(sys.platform, others))
