"""File names reserved for output, so that parallel runs never write to the same file.

A name is reserved by a lock file beside it. The operating system releases the lock when its holder
ends, even if it crashes. The bytes are written to a part file beside the name, which is renamed
once it is complete. Parts and locks that no living process holds are removed by the next run that
writes to the folder.
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
_WINDOWS_NAME = 255  # UTF-16 units; other systems report names that are too long themselves
_PATIENCE = 0.1  # seconds; longer than another run holds a lock while it removes it


@dataclass(slots=True)
class ReservedName:
    """A file name that no other run can claim until it is released.

    path    the name as the user wrote it; `target`: the same with links followed
    folders those that were created for it, outermost first
    """

    path: Path
    target: Path
    field: str
    lock: BaseFileLock
    folders: list[Path]

    @property
    def part(self) -> Path:
        """The temporary file that receives the bytes."""
        return self.target.with_name(_beside(self.target.name, PART))

    @property
    def in_use(self) -> bool:
        """Whether a file with this name already exists."""
        return os.path.lexists(self.target)

    def begin(self) -> Path:
        """Create the part, empty, and return its path. Raises OSError."""
        self.part.unlink(missing_ok=True)  # left by a run that was killed
        self.part.open("xb").close()
        return self.part

    def publish(self, replace: bool) -> None:
        """Rename the part to its final name. Raises OSError, and, without `replace`,
        FileExistsError if the name is in use by now."""
        with self.part.open("r+b") as file:
            os.fsync(file.fileno())
        if replace:
            os.replace(self.part, self.target)
        else:
            _move_new(self.part, self.target)

    def withdraw(self) -> None:
        """Remove the file that `publish` put in place."""
        with suppress(OSError):
            self.target.unlink()

    def release(self) -> None:
        """Remove the part and release the name."""
        with suppress(OSError):
            self.part.unlink(missing_ok=True)
        _let_go(self.lock)
        remove_folders(self.folders)

    def fault(self, error: OSError) -> InvalidOutput:
        """The exception to raise for an error during writing. Call it before `release`, while an
        incomplete part still fills the disk."""
        if isinstance(error, FileExistsError):
            why = "was written by somebody else in the meantime"
            return InvalidOutput(self.field, self.path, why, "a name that is not in use")
        return InvalidOutput(
            self.field, self.path, failure_reason(error, self.target.parent), WRITABLE
        )


def reserve(path: str | Path, field: str = "output") -> ReservedName | None:
    """Claim a name; None if another run holds it. Missing folders are created.

    Raises InvalidOutput for a path that cannot be a file (a folder, a device, a pipe, a link to
    itself, a name that contains NUL or is too long) and for a folder that is not writable.
    """
    target = resolved_target(path, field)
    folders: list[Path] = []
    try:
        _make_folders(target.parent, folders)
        lock = _locked(target.with_name(_beside(target.name, LOCK)), _PATIENCE)
    except OSError as error:
        remove_folders(folders)
        raise InvalidOutput(field, path, failure_reason(error, target.parent), WRITABLE) from error
    except BaseException:
        remove_folders(folders)
        raise
    if lock is None:
        remove_folders(folders)
        return None
    return ReservedName(Path(path), target, field, lock, folders)


@contextmanager
def reserved(
    path: Path, field: str, force: bool, ours: Callable[[Path], bool]
) -> Iterator[tuple[ReservedName, bool]]:
    """A single file named by the user: its claim, and whether it replaces an existing file.

    Without `force`, an existing file for which `ours` is true is kept, and the next free number is
    used. Raises InvalidOutput for an existing file that is not ours, and as `reserve` does.
    """
    for number in count(1):
        held = reserve(numbered_path(path, number), field)
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
    """Raise InvalidOutput if the folder cannot be created or no file can be written in it."""
    held = reserve(folder / f"{PREFIX}probe", field)
    if held is not None:  # otherwise another run holds the same name, so the folder is writable
        held.release()


def numbered_path(path: Path, number: int) -> Path:
    """`name.wav` for 1, `name-2.wav`, …"""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def sweep(folder: Path) -> None:
    """Remove the parts and locks in a folder that were left by runs that ended without cleanup."""
    try:
        with os.scandir(folder) as entries:
            matches = [m for entry in entries if (m := _LEFT_BEHIND.fullmatch(entry.name))]
    except OSError:
        return
    for mark in {match[1] for match in matches}:
        with suppress(OSError):
            lock = _locked(folder / f"{PREFIX}{mark}{LOCK}", 0)
            if lock is not None:
                with suppress(OSError):
                    (folder / f"{PREFIX}{mark}{PART}").unlink(missing_ok=True)
                _let_go(lock)


def resolved_target(path: str | Path, field: str) -> Path:
    """The file that a path resolves to, which need not exist. Raises InvalidOutput."""
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


def failure_reason(error: OSError, folder: Path) -> str:
    """The reason in words. Codecs drop the error number, so the free disk space is checked too."""
    free = None
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
    if error.errno in _NO_ROOM or (free is not None and free < _FULL):
        left = "" if free is None else f" ({gib(free)} free)"
        return f"cannot be written: no room is left on the disk{left}"
    return f"cannot be written ({error.strerror or error})"


def remove_folders(folders: list[Path]) -> None:
    """Remove newly created folders, innermost first, except those that are in use by now."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def _mode(target: Path) -> int | None:
    """The file type of the target, from its mode; None if it does not exist."""
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
    """One name for all spellings that some file system treats as the same name."""
    same = unicodedata.normalize("NFC", name).casefold()
    digest = sha256(same.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{PREFIX}{digest}{ending}"


def _make_folders(folder: Path, created: list[Path]) -> None:
    """Create `folder` and its missing parents; `created` collects the new ones, outermost first."""
    missing = [f for f in (folder, *folder.parents) if not os.path.lexists(f)]
    for step in reversed(missing):
        with suppress(FileExistsError):  # another run has just created it, and owns it
            step.mkdir()
            created.append(step)


def _locked(path: Path, patience: float) -> BaseFileLock | None:
    """The acquired lock; None if another process holds it. Raises OSError."""
    from filelock import FileLock, Timeout  # slow to import

    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=patience, poll_interval=0.02)
    except Timeout:
        return None
    except PermissionError:
        if os.path.lexists(path):  # belongs to another user's run
            return None
        raise
    return lock


def _let_go(lock: BaseFileLock) -> None:
    """Remove the lock file and release the lock, in an order that never removes the lock of another
    run: before the release; after it on Windows, where open files cannot be removed."""
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
    except OSError:  # this file system has no hard links
        target.open("xb").close()
        os.replace(part, target)
    else:
        part.unlink()
