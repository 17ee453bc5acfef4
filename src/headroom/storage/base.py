"""The interface of a storage: files by keys that nobody can guess."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headroom.errors import StorageFailed

PIECE = 1 << 18  # bytes that are read or written at a time
PART = ".part"  # ends the names in `staging`
_KEY = re.compile("[0-9a-f]{32}")  # in one case only: some file systems do not tell two apart


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the storage: its key, and when it was put there, in seconds since 1970 by the
    clock of the storage."""

    key: str
    since: float


class Storage(Protocol):
    """Files by key. Every method raises StorageFailed; keys of other forms are refused so too."""

    @property
    def staging(self) -> Path:
        """A folder of this machine for files that are on their way in."""

    def take(self, path: Path) -> str:
        """Move a file of `staging` in, completely or not at all; its key. When this returns, a
        power cut does not remove it. Raises StorageFull as well."""

    def size(self, key: str) -> int:
        """Bytes."""

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, not included, in pieces."""

    def local(self, key: str) -> AbstractContextManager[Path]:
        """A file of this machine with these bytes, only to be read and only within the block."""

    def delete(self, key: str) -> None:
        """Remove a file; none may be there."""

    def stored(self) -> Iterator[Stored]:
        """All files, in no order."""

    def free(self) -> int | None:
        """Bytes that are free on the disk; None where there is no such number."""


def new_key() -> str:
    return secrets.token_hex(16)


def place(key: str) -> str:
    """The path below the root, which spreads files over 256 folders. Raises StorageFailed."""
    if not _KEY.fullmatch(key):
        raise StorageFailed("it holds no file under such a key")
    return f"{key[:2]}/{key}"


def key_of(place: str) -> str | None:
    """The key of a path below the root; None for a file that is not of this program."""
    folder, _, key = place.rpartition("/")
    return key if _KEY.fullmatch(key) and folder.endswith(key[:2]) else None
