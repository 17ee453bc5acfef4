"""Opens a storage by the path of a folder or the URL of a bucket."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from headroom.errors import InvalidRequest
from headroom.storage.base import Storage
from headroom.storage.folder import Folder

SCHEMES = ("s3", "gs", "az")
ALLOWED = "the path of a folder, or a URL that begins with s3://, gs:// or az://"


def open_storage(where: str | Path, staging: Path) -> Storage:
    """The storage. Files on their way into a bucket wait in the folder `staging`; those on their
    way into a folder wait there.

    Raises InvalidRequest for what is neither; StorageFailed.
    """
    if isinstance(where, Path) or "://" not in where:
        return Folder(Path(where))
    if where.partition("://")[0] not in SCHEMES:
        raise InvalidRequest("storage", where.partition("://")[0] + "://…", ALLOWED)
    if find_spec("obstore") is None:
        raise InvalidRequest(
            "storage",
            where.partition("://")[0] + "://…",
            "a folder, as obstore is not installed (pip install 'headroom-audio[api]')",
        )
    from headroom.storage.bucket import bucket

    return bucket(where, staging)
