"""Locks of the operating system on open files, which fall when their process ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock an open file against every other opening of it; whether that succeeded."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Release the lock; harmless if it is not held."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        except OSError:
            pass
else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file against every other opening of it; whether that succeeded."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Release the lock; harmless if it is not held."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def opened(path: Path) -> int:
    """A descriptor of a file for locking, created where there is none. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
