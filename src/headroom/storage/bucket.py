"""Files in a bucket of S3, GCS or Azure, through obstore.

An upload that is broken off leaves nothing that can be read; what a killed process had sent of a
large file stays with the provider until a lifecycle rule of the bucket removes it ("abort
incomplete multipart uploads").
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from headroom.errors import StorageFailed
from headroom.storage.base import PART, PIECE, Stored, key_of, new_key, place
from headroom.storage.folder import translated

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_AT_ONCE = 4  # parts of 5 MiB that are sent at the same time, each held in memory
RETRIES = 4
_PATIENCE = timedelta(seconds=60)


class Bucket:
    """A storage in an object store. `staging` is a folder of this machine, which is created."""

    def __init__(self, store: ObjectStore, staging: Path) -> None:
        self._store, self._staging = store, staging
        with translated(staging.parent):
            staging.mkdir(parents=True, exist_ok=True)

    @property
    def staging(self) -> Path:
        return self._staging

    def take(self, path: Path) -> str:
        import obstore

        key = new_key()
        with _translated():
            obstore.put(self._store, place(key), path, max_concurrency=_AT_ONCE)
        with suppress(OSError):
            path.unlink()
        return key

    def size(self, key: str) -> int:
        import obstore

        with _translated():
            return obstore.head(self._store, place(key))["size"]

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        import obstore

        stop = self.size(key) if stop is None else min(stop, self.size(key))
        if start >= stop:
            return iter(())
        with _translated():
            found = obstore.get(self._store, place(key), options={"range": (start, stop)})

        def pieces() -> Iterator[bytes]:
            with _translated():
                for piece in found.stream(min_chunk_size=PIECE):
                    yield bytes(piece)

        return pieces()

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(PART, dir=self._staging) as folder:
            path = Path(folder) / key
            with translated(self._staging), path.open("wb") as file:
                file.writelines(self.read(key))
            yield path

    def delete(self, key: str) -> None:
        import obstore
        from obstore.exceptions import NotFoundError

        with _translated(), suppress(NotFoundError, FileNotFoundError):
            obstore.delete(self._store, place(key))

    def stored(self) -> Iterator[Stored]:
        import obstore

        with _translated():
            for some in obstore.list(self._store):
                for one in some:
                    key = key_of(one["path"])
                    if key is not None:
                        yield Stored(key, one["last_modified"].timestamp())

    def free(self) -> int | None:
        return None


def bucket(url: str, staging: Path) -> Bucket:
    """The bucket, and folder in it, of a URL. Keys and regions come from the variables and files
    that the provider's own programs read. Raises StorageFailed."""
    from obstore.store import from_url

    with _translated():
        retries = {"max_retries": RETRIES, "retry_timeout": _PATIENCE}
        return Bucket(from_url(url, retry_config=retries), staging)  # type: ignore[call-overload]


@contextmanager
def _translated() -> Iterator[None]:
    """Faults of obstore as those of the storage. Its messages hold the whole HTTP exchange, with
    addresses and names of the bucket: they go into the cause, which only a log shows."""
    from obstore.exceptions import BaseError, NotFoundError

    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise StorageFailed("a file is missing") from error
    except (BaseError, ValueError, OSError) as error:
        raise StorageFailed(f"the object store refused ({type(error).__name__})") from error
