"""Files in a folder and in a bucket: the same behaviour of both."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from headroom.errors import InvalidRequest, StorageFailed, StorageFull
from headroom.storage import bucket
from headroom.storage.base import Storage
from headroom.storage.bucket import Bucket
from headroom.storage.folder import Folder
from headroom.storage.open import open_storage
from headroom.storage.upload import upload
from support.fake_s3 import Server, serving


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that stands for S3, and the variables by which a bucket finds it."""
    with serving() as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "here",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(bucket, "RETRIES", 0)
        yield server


@pytest.fixture(params=["folder", "memory", "local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(str(tmp_path / "files"), tmp_path)
    if request.param == "s3":
        request.getfixturevalue("s3")
        return open_storage("s3://songs/below/here", tmp_path / "staging")
    store = MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "b", mkdir=True)
    return Bucket(store, tmp_path / "staging")


def put(storage: Storage, data: bytes) -> str:
    with upload(storage, floor=0) as one:
        one.write(data)
        one.close()
        return storage.take(one.path)


def test_what_is_put_comes_back(storage: Storage) -> None:
    data = os.urandom(1_000_003)
    key = put(storage, data)
    assert b"".join(storage.read(key)) == data
    assert storage.size(key) == len(data)
    with storage.local(key) as path:
        assert path.read_bytes() == data
    assert [one.key for one in storage.stored()] == [key]
    assert list(storage.staging.iterdir()) == []


def test_nothing_comes_back_from_an_empty_file(storage: Storage) -> None:
    key = put(storage, b"")
    assert b"".join(storage.read(key)) == b""
    assert storage.size(key) == 0


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (3, 7), (5, None), (9, 10), (9, 99), (10, None), (99, 100)]
)
def test_ranges(storage: Storage, start: int, stop: int | None) -> None:
    data = b"0123456789"
    assert b"".join(storage.read(put(storage, data), start, stop)) == data[start:stop]


def test_a_deleted_file_is_gone(storage: Storage) -> None:
    kept, key = put(storage, b"a"), put(storage, b"a")
    storage.delete(key)
    storage.delete(key)
    for call in (storage.size, storage.read, lambda key: storage.local(key).__enter__()):
        with pytest.raises(StorageFailed, match="missing"):
            call(key)
    assert [one.key for one in storage.stored()] == [kept]


@pytest.mark.parametrize("key", ["", "a", "../../etc/passwd", "A" * 32, "0" * 32 + "/", "0" * 31])
def test_no_key_is_a_path(storage: Storage, key: str) -> None:
    for call in (storage.size, storage.read, storage.delete):
        with pytest.raises(StorageFailed):
            call(key)


def test_files_of_others_are_not_listed(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    key = put(storage, b"a")
    (tmp_path / key[:2] / "notes.txt").write_text("mine")
    (tmp_path / "zz").mkdir()
    (tmp_path / "zz" / key).write_text("in the wrong folder")
    assert [one.key for one in storage.stored()] == [key]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Folder(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull) as raised:
        put(storage, b"a")
    assert raised.value.free > 0
    monkeypatch.undo()
    assert list(storage.stored()) == [] and list(storage.staging.iterdir()) == []


def test_errors_reveal_no_path(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed) as raised:
        storage.size("0" * 32)
    assert str(tmp_path) not in str(raised.value)
    with pytest.raises(StorageFailed) as raised:
        storage.take(tmp_path / "no such file")
    assert str(tmp_path) not in str(raised.value)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidRequest, match="storage"):
        open_storage(tmp_path / "file" / "folder", tmp_path)
    with pytest.raises(InvalidRequest, match="storage") as raised:
        open_storage("ftp://me:secret@host", tmp_path)
    assert "secret" not in str(raised.value)


def test_a_bucket_that_cannot_be_reached_is_told(
    s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    storage = open_storage("s3://songs/below", tmp_path / "staging")
    with pytest.raises(StorageFailed) as raised:
        put(storage, b"a")
    assert "127.0.0.1" not in str(raised.value)
    assert list(storage.staging.iterdir()) == []
    assert storage.free() is None


def test_a_large_file_goes_to_a_bucket_in_parts(s3: Server, tmp_path: Path) -> None:
    storage = open_storage("s3://songs/below", tmp_path / "staging")
    data = os.urandom(11 << 20)
    key = put(storage, data)
    assert s3.objects == {f"/songs/below/{key[:2]}/{key}": data}
    assert s3.uploads == {}


def test_an_upload_to_a_bucket_that_breaks_off_leaves_nothing(s3: Server, tmp_path: Path) -> None:
    storage = open_storage("s3://songs/below", tmp_path / "staging")
    s3.refused = {2}
    with pytest.raises(StorageFailed):
        put(storage, bytes(11 << 20))
    assert s3.objects == {} and s3.uploads == {} and s3.aborted == 1
    assert list(storage.staging.iterdir()) == []
