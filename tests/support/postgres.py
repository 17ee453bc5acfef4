"""A private PostgreSQL server in a temporary folder, which nothing outside the tests reaches."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.needed import require

INITDB = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: on the search path, or where Debian installs them."""
    if there := shutil.which("initdb"):
        return Path(there).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


def why_not() -> str:
    """Why no server can be started here; empty if one can."""
    if sys.platform == "win32":
        return "it is started over a Unix socket"
    if programs() is None:
        return "PostgreSQL is not installed here"
    if os.getuid() == 0 and not _account():
        return "PostgreSQL refuses root, and there is no account postgres here"
    return ""


def _account() -> str | None:
    """The account that runs the server where the tests run as root."""
    if sys.platform == "win32" or os.getuid() != 0:
        return None
    import pwd

    return "postgres" if any(one.pw_name == "postgres" for one in pwd.getpwall()) else None


@contextmanager
def server() -> Iterator[str]:
    """A running server: the folder of its socket, which `host=` takes in a URL. The test that asks
    for one is skipped where none can be started."""
    require(why_not())
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    account, bin = _account(), programs()
    assert bin is not None  # as `why_not` has seen
    if account:
        shutil.chown(folder, account)
    data = folder / "data"

    def call(*arguments: str) -> None:
        subprocess.run(arguments, user=account, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    options = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=50"
    try:
        call(f"{bin}/initdb", "-D", str(data), *INITDB)
        log = str(folder / "log")
        call(f"{bin}/pg_ctl", "-D", str(data), "-w", "-o", options, "-l", log, "start")
        try:
            yield str(folder)
        finally:
            call(f"{bin}/pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
