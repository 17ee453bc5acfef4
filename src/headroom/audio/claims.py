"""Names held for files that are yet to be written.

A name is held by a lock file beside it, which the operating system frees when its holder ends,
however it ends. The bytes go to a part beside the name and take the name when they are whole.
Parts and locks that no living process holds are removed by the next run that writes there.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from headroom.errors import InvalidOutput
from headroom.units import KIB, gib

if TYPE_CHECKING:
    from filelock import BaseFileLock

PREFIX, PART, LOCK = ".headroom-", ".part", "-lock.part"
WRITABLE, A_FILE = "a place that can be written to", "the name of a file"
IN_USE = "is there already, and this program did not make it"
NEW_NAME = "a new name, or --force (force=True) to replace it"
_LEFT_BEHIND = re.compile(re.escape(PREFIX) + r"([0-9a-f]{16,64})(-lock)?" + re.escape(PART))
_FULL = 64 * KIB
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_WINDOWS_NAME = 255  # UTF-16 units; elsewhere the file system says it itself
_PATIENCE = 0.1  # seconds; longer than another run holds a lock to clear it away


@dataclass(slots=True)
class Claim:
    """A name that no other run gets until it is released.

    asked   as somebody wrote it; `target`: with links followed
    made    folders that were made for it, outermost first
    """

    asked: Path
    target: Path
    field: str
    lock: BaseFileLock
    made: list[Path]

    @property
    def part(self) -> Path:
        """Where its bytes are written."""
        return self.target.with_name(_beside(self.target.name, PART))

    @property
    def in_use(self) -> bool:
        """Whether a file has this name already."""
        return os.path.lexists(self.target)

    def begin(self) -> Path:
        """The part, new and empty. Raises OSError."""
        self.part.unlink(missing_ok=True)  # left by a run that was killed
        self.part.open("xb").close()
        return self.part

    def publish(self, replace: bool) -> None:
        """Give the part its name. Raises OSError; FileExistsError for a name that is in use now,
        unless `replace`."""
        with self.part.open("r+b") as file:
            os.fsync(file.fileno())
        if replace:
            os.replace(self.part, self.target)
        else:
            _move_new(self.part, self.target)

    def withdraw(self) -> None:
        """Remove what `publish` put there."""
        with suppress(OSError):
            self.target.unlink()

    def release(self) -> None:
        """Remove the part and let go of the name."""
        with suppress(OSError):
            self.part.unlink(missing_ok=True)
        _let_go(self.lock)
        remove_folders(self.made)

    def fault(self, error: OSError) -> InvalidOutput:
        """What to raise for an error while writing. Asked before `release`, while a torn part
        still fills the disk."""
        if isinstance(error, FileExistsError):
            why = "was written by somebody else in the meantime"
            return InvalidOutput(self.field, self.asked, why, "a name that is not in use")
        return InvalidOutput(self.field, self.asked, reason(error, self.target.parent), WRITABLE)


def claim(path: str | Path, field: str = "output") -> Claim | None:
    """Hold a name; None where another run holds it. Missing folders are made.

    Raises InvalidOutput for a name that no file can have (a folder, a device, a pipe, a link that
    leads to itself, a NUL, too long) and for a folder that cannot be written to.
    """
    target = resolved(path, field)
    made: list[Path] = []
    try:
        _make_folders(target.parent, made)
        lock = _locked(target.with_name(_beside(target.name, LOCK)), _PATIENCE)
    except OSError as error:
        remove_folders(made)
        raise InvalidOutput(field, path, reason(error, target.parent), WRITABLE) from error
    except BaseException:
        remove_folders(made)
        raise
    if lock is None:
        remove_folders(made)
        return None
    return Claim(Path(path), target, field, lock, made)


@contextmanager
def named(
    path: Path, field: str, force: bool, ours: Callable[[Path], bool]
) -> Iterator[tuple[Claim, bool]]:
    """A single file that somebody named: its claim, and whether it replaces what is there.

    Without `force`, a file that is `ours` is kept and the next free number is taken. Raises
    InvalidOutput for a file that is not ours, and as `claim` does.
    """
    for number in count(1):
        held = claim(numbered(path, number), field)
        if held is None:
            continue
        try:
            sweep(held.target.parent)
            if number == 1 and held.in_use and not force and not ours(held.target):
                raise InvalidOutput(field, path, IN_USE, NEW_NAME)
            if held.in_use and not (force and number == 1):
                continue
            yield held, held.in_use
            return
        finally:
            held.release()


def check_folder(folder: Path, field: str) -> None:
    """Raise InvalidOutput where no file can be written in a folder, or the folder not be made."""
    held = claim(folder / f"{PREFIX}probe", field)
    if held is not None:  # else another run holds the same name, so it can be written to
        held.release()


def numbered(path: Path, number: int) -> Path:
    """`name.wav` for 1, `name-2.wav`, …"""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def sweep(folder: Path) -> None:
    """Remove the parts and locks that runs left in a folder which ended without clearing up."""
    try:
        with os.scandir(folder) as entries:
            found = [m for entry in entries if (m := _LEFT_BEHIND.fullmatch(entry.name))]
    except OSError:
        return
    for mark in {match[1] for match in found}:
        with suppress(OSError):
            lock = _locked(folder / f"{PREFIX}{mark}{LOCK}", 0)
            if lock is not None:
                with suppress(OSError):
                    (folder / f"{PREFIX}{mark}{PART}").unlink(missing_ok=True)
                _let_go(lock)


def resolved(path: str | Path, field: str) -> Path:
    """The file a name leads to, which need not be there. Raises InvalidOutput."""
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target)
    except (OSError, ValueError) as error:
        raise InvalidOutput(field, path, _unusable(error), A_FILE) from error
    if sys.platform == "win32" and len(target.name.encode("utf-16-le")) > 2 * _WINDOWS_NAME:
        raise InvalidOutput(field, path, "has too long a name", A_FILE)
    if mode is not None and stat.S_ISDIR(mode):
        raise InvalidOutput(field, path, "is a folder", A_FILE)
    if mode is not None and not stat.S_ISREG(mode):
        raise InvalidOutput(field, path, "is not a regular file", A_FILE)
    return target


def reason(error: OSError, folder: Path) -> str:
    """The reason in words. A codec loses the number of the error: ask the disk as well."""
    free = None
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
    if error.errno in _NO_ROOM or (free is not None and free < _FULL):
        left = "" if free is None else f" ({gib(free)} free)"
        return f"cannot be written: no room is left on the disk{left}"
    return f"cannot be written ({error.strerror or error})"


def remove_folders(made: list[Path]) -> None:
    """Remove new folders again, innermost first, those that somebody uses by now left out."""
    for folder in reversed(made):
        with suppress(OSError):
            folder.rmdir()


def _mode(target: Path) -> int | None:
    """What kind of thing has this name; None: nothing."""
    try:
        return os.stat(target).st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        file = next(step for step in target.parents if os.path.lexists(step))
        raise NotADirectoryError(errno.ENOTDIR, f"{file} is no folder") from None


def _unusable(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return f"is no usable name ({error})"
    if error.errno == errno.ENAMETOOLONG:
        return "has too long a name"
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    return f"cannot be written ({error.strerror or error})"


def _beside(name: str, ending: str) -> str:
    """One name for all spellings of a name that some file system takes for the same."""
    same = unicodedata.normalize("NFC", name).casefold()
    digest = sha256(same.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{PREFIX}{digest}{ending}"


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make `folder` and what is missing above it; `made` lists the new ones, outermost first."""
    missing = [f for f in (folder, *folder.parents) if not os.path.lexists(f)]
    for step in reversed(missing):
        with suppress(FileExistsError):  # another run made it just now, and it is theirs
            step.mkdir()
            made.append(step)


def _locked(path: Path, patience: float) -> BaseFileLock | None:
    """The lock, held; None where somebody else holds it. Raises OSError."""
    from filelock import FileLock, Timeout  # takes a while to load

    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=patience, poll_interval=0.02)
    except Timeout:
        return None
    except PermissionError:
        if os.path.lexists(path):  # of another user's run
            return None
        raise
    return lock


def _let_go(lock: BaseFileLock) -> None:
    """Remove the lock file and free it, in the order in which nobody else's is removed: while it
    is held; where open files cannot be removed (Windows), after it."""
    path = Path(lock.lock_file)
    try:
        path.unlink(missing_ok=True)
        removed = True
    except OSError:
        removed = False
    lock.release(force=True)
    if not removed:
        with suppress(OSError):
            path.unlink()


def _move_new(part: Path, target: Path) -> None:
    """Rename without replacing. Raises FileExistsError."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # no links on this file system
        target.open("xb").close()
        os.replace(part, target)
    else:
        part.unlink()
