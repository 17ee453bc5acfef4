"""A file on its way in: written in pieces up to a limit, hashed meanwhile, and probed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from headroom import paths
from headroom.errors import StorageFull, TooLarge
from headroom.storage.base import PART, Storage
from headroom.storage.folder import translated

UPLOAD_BYTES = 256 << 20  # 25 min of stereo at 48 kHz in 24 bits
FLOOR = 2 << 30  # bytes of a disk that stay free


class Upload:
    """A file of the staging folder that is being written. Made by `upload`."""

    def __init__(self, path: Path, file: BinaryIO, field: str, most: int) -> None:
        self.path, self._file, self._field, self._most = path, file, field, most
        self._hash, self.size = sha256(), 0

    def write(self, data: bytes) -> None:
        """Add some bytes. Raises TooLarge, StorageFull, StorageFailed."""
        self.size += len(data)
        if self.size > self._most:
            raise TooLarge(self._field, self._most)
        with translated(self.path.parent):
            self._file.write(data)
        self._hash.update(data)

    def close(self) -> str:
        """No more bytes come: the SHA-256 of all of them, hexadecimal."""
        with translated(self.path.parent):
            self._file.close()
        return self._hash.hexdigest()


@contextmanager
def upload(
    storage: Storage, field: str = "file", most: int = UPLOAD_BYTES, floor: int = FLOOR
) -> Iterator[Upload]:
    """A new file of at most `most` bytes, which is removed at the end of the block unless the
    storage took it. Raises StorageFull, StorageFailed."""
    check_room(storage, floor)
    path = storage.staging / f"{secrets.token_hex(16)}{PART}"
    with translated(storage.staging):
        file = path.open("xb")
    try:
        yield Upload(path, file, field, most)
    finally:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)


def check_room(storage: Storage, floor: int = FLOOR) -> None:
    """Raise StorageFull if less than `floor` bytes are free."""
    free = storage.free()
    if free is not None and free < floor:
        raise StorageFull(free, floor)


def left_over(storage: Storage) -> Iterator[tuple[Path, int]]:
    """What is on its way, or was when its process died: paths, and bytes so far."""
    for path in storage.staging.glob(f"*{PART}"):
        with suppress(OSError):
            yield path, path.stat().st_size


def remove_left_over(path: Path) -> None:
    """Remove it, if it is still there."""
    with suppress(OSError):
        if paths.is_dir(path):
            shutil.rmtree(path)
        else:
            path.unlink()
