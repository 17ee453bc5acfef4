"""Pieces of songs that are being decoded: heard while their job is at work, then gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from headroom.errors import ClaimLost, StorageFull, UnknownId
from headroom.jobs import retention as retention_module
from headroom.jobs.database import Database
from headroom.jobs.files import Files
from headroom.jobs.pieces import Piece
from headroom.jobs.queue import Queue
from headroom.jobs.retention import Retention
from headroom.jobs.values import Asked, Claim
from headroom.jobs.watch import Watch
from headroom.jobs.worker import Worker
from headroom.storage.bucket import Bucket
from headroom.storage.folder import Folder
from support.clock import Hands


@pytest.fixture(params=["folder", "bucket"])
def files(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path, hands: Hands
) -> Files:
    in_folder = request.param == "folder"
    storage = Folder(tmp_path / "f") if in_folder else Bucket(MemoryStore(), tmp_path / "b")
    return Files(database, storage, hands.clock, floor=0)


def claimed(queue: Queue, worker: Worker, key: str = "") -> Claim:
    queue.submit(Asked("{}", key))
    claim = worker.claim()
    assert claim is not None
    return claim


def piece(start: int, text: bytes, song: int = 0) -> Piece:
    """A piece of 2 channels, 4 bytes a sample of both."""
    return Piece(song, start, 2, 48_000, text)


def heard(files: Files, claim: Claim, song: int = 0) -> bytes:
    found = files.pieces.heard(claim.job, song)
    assert (found.channels, found.rate, found.size) == (2, 48_000, found.frames * 4)
    return b"".join(files.pieces.read(found, 0, found.size))


def stored(files: Files) -> int:
    return len(list(files.storage.stored()))


def test_pieces_are_heard_in_order_song_by_song(files: Files, queue: Queue, worker: Worker) -> None:
    claim = claimed(queue, worker)
    with pytest.raises(UnknownId, match="preview"):
        files.pieces.heard(claim.job, 0)
    files.pieces.add(claim, piece(0, b"aaaabbbb"))
    files.pieces.add(claim, piece(2, b"cccc"))
    files.pieces.add(claim, piece(0, b"dddd", song=1))
    assert heard(files, claim) == b"aaaabbbbcccc" and heard(files, claim, 1) == b"dddd"
    found = files.pieces.heard(claim.job, 0)
    for start in range(13):
        for stop in range(start, 13):
            part = b"".join(files.pieces.read(found, start, stop))
            assert part == b"aaaabbbbcccc"[start:stop]
    files.pieces.add(claim, piece(4, b"late"))  # what is before it is missing
    assert heard(files, claim) == b"aaaabbbbcccc"
    name = found.name
    files.pieces.add(claim, piece(3, b"!!!!"))
    assert heard(files, claim) == b"aaaabbbbcccc!!!!late"
    assert files.pieces.heard(claim.job, 0).name != name


def test_a_song_that_begins_again_is_heard_anew(files: Files, queue: Queue, worker: Worker) -> None:
    claim = claimed(queue, worker)
    files.pieces.add(claim, piece(0, b"aaaabbbb"))
    files.pieces.add(claim, piece(2, b"cccc"))
    files.pieces.add(claim, piece(0, b"dddd", song=1))
    files.pieces.add(claim, piece(0, b"AAAA"))
    assert heard(files, claim) == b"AAAA" and heard(files, claim, 1) == b"dddd"
    assert stored(files) == 2


def test_only_the_owner_hears(files: Files, queue: Queue, worker: Worker) -> None:
    claim = claimed(queue, worker, "one")
    files.pieces.add(claim, piece(0, b"aaaa"))
    assert files.pieces.heard(claim.job, 0, "one").frames == 1
    with pytest.raises(UnknownId, match="job"):
        files.pieces.heard(claim.job, 0, "two")


def test_nothing_is_heard_or_left_of_a_job_that_has_ended(
    files: Files, queue: Queue, worker: Worker
) -> None:
    claim = claimed(queue, worker)
    files.pieces.add(claim, piece(0, b"aaaa"))
    worker.finish(claim)
    with pytest.raises(UnknownId, match="preview"):
        files.pieces.heard(claim.job, 0)
    with pytest.raises(ClaimLost):
        files.pieces.add(claim, piece(1, b"bbbb"))
    assert stored(files) == 1
    files.pieces.remove(claim)
    assert stored(files) == 0 and files.pieces.known() == set()


def test_what_a_dead_worker_kept_is_swept_and_what_the_next_one_keeps_is_not(
    database: Database, files: Files, queue: Queue, worker: Worker, hands: Hands
) -> None:
    first = claimed(queue, worker)
    files.pieces.add(first, piece(0, b"aaaa"))
    sweeper = Retention(database, files, hands.clock)
    sweeper.sweep()
    assert heard(files, first) == b"aaaa"  # it lives
    assert Watch(database, hands.clock).take_back(worker.holder) == [first.job]
    other = Worker(database, "other", hands.clock)
    second = other.claim()
    assert second is not None and second.job == first.job
    with pytest.raises(UnknownId):
        files.pieces.heard(second.job, 0)  # nothing of the attempt before
    with pytest.raises(ClaimLost):
        files.pieces.add(first, piece(1, b"bbbb"))
    files.pieces.add(second, piece(0, b"cccc"))
    assert stored(files) == 2
    sweeper.sweep()
    assert stored(files) == 1 and heard(files, second) == b"cccc"
    hands.pass_by(2 * retention_module._ORPHAN_SECONDS)
    sweeper.sweep()
    hands.pass_by(2 * retention_module._ORPHAN_SECONDS)
    sweeper.sweep()
    assert heard(files, second) == b"cccc"  # its bytes are known


def test_a_full_disk_keeps_nothing(
    database: Database, tmp_path: Path, queue: Queue, worker: Worker
) -> None:
    files = Files(database, Folder(tmp_path / "files"), floor=1 << 60)
    claim = claimed(queue, worker)
    with pytest.raises(StorageFull):
        files.pieces.add(claim, piece(0, b"aaaa"))
    assert stored(files) == 0 and files.pieces.known() == set()
