"""Files in a folder of this machine: the default storage."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headroom.errors import InvalidRequest, StorageFailed, StorageFull
from headroom.storage.base import PIECE, Stored, key_of, new_key, place

_STAGED = "staged"
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class Folder:
    """A storage in a folder, which is created. Raises InvalidRequest if that is impossible."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        try:
            self.staging.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            allowed = "a folder that can be written to"
            raise InvalidRequest("storage", str(root), allowed) from error

    @property
    def staging(self) -> Path:
        return self._root / _STAGED

    def take(self, path: Path) -> str:
        key = new_key()
        target = self._root / place(key)
        with translated(self._root):
            with path.open("r+b") as file:
                os.fsync(file.fileno())
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
            _sync_folder(target.parent)
            _sync_folder(self._root)
        return key

    def size(self, key: str) -> int:
        with translated(self._root):
            return os.stat(self._root / place(key)).st_size

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        with translated(self._root):
            file = (self._root / place(key)).open("rb")
            file.seek(start)
        left = sys.maxsize if stop is None else stop - start

        def pieces() -> Iterator[bytes]:
            nonlocal left
            with file, translated(self._root):
                yield b""
                while left > 0 and (piece := file.read(min(PIECE, left))):
                    left -= len(piece)
                    yield piece

        begun = pieces()
        next(begun)  # from here on, whoever closes it closes the file, also if nothing is read
        return begun

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        path = self._root / place(key)
        with translated(self._root):
            path.open("rb").close()
        yield path

    def delete(self, key: str) -> None:
        with translated(self._root):
            (self._root / place(key)).unlink(missing_ok=True)

    def stored(self) -> Iterator[Stored]:
        with translated(self._root):
            for folder in sorted(self._root.glob("??")):
                with os.scandir(folder) as entries:
                    for entry in entries:
                        key = key_of(f"{folder.name}/{entry.name}")
                        if key is not None:
                            with suppress(FileNotFoundError):
                                yield Stored(key, entry.stat().st_mtime)

    def free(self) -> int | None:
        return shutil.disk_usage(self._root).free


@contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Faults of the file system as those of the storage, without the path in them."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageFailed("a file is missing") from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageFull(shutil.disk_usage(folder).free, 0) from error
        raise StorageFailed(error.strerror or type(error).__name__) from error


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk. Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
