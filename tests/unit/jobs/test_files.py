"""Files by id, what jobs made, and what is removed by itself."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sqlalchemy import func, select

from headroom.errors import Conflict, DatabaseFailed, InvalidSource, UnknownId
from headroom.jobs import retention as retention_module
from headroom.jobs.database import Database
from headroom.jobs.files import KEPT, File, Files
from headroom.jobs.library import Library
from headroom.jobs.queue import Queue
from headroom.jobs.retention import Retention, Swept
from headroom.jobs.tables import events, inputs, outputs
from headroom.jobs.tables import files as rows
from headroom.jobs.values import Asked, Job, Made, Told
from headroom.jobs.worker import Worker
from headroom.storage.folder import Folder
from support.clock import Hands


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "files")


@pytest.fixture
def files(database: Database, storage: Folder, hands: Hands) -> Files:
    return Files(database, storage, hands.clock, floor=0)


@pytest.fixture
def library(database: Database, files: Files) -> Library:
    return Library(database, files)


def send(files: Files, data: bytes, owner: str = "", kind: str = "audio/flac") -> File:
    with files.receive(owner, "song") as incoming:
        incoming.write(data)
        return incoming.keep(kind, 1.0)


def made(
    queue: Queue,
    worker: Worker,
    files: Files,
    *data: bytes,
    key: str = "",
    inputs: tuple[str, ...] = (),
) -> Job:
    """A job that is done, with these outputs."""
    job = queue.submit(Asked("{}", key))
    claim = worker.claim()
    assert claim is not None and claim.job == job.id
    worker.tell(claim, [Told("{}")])
    worker.finish(claim, made=[Made(send(files, one, key).id, title=str(one)) for one in data])
    return queue.get(job.id)


def blobs(storage: Folder) -> list[bytes]:
    return sorted(b"".join(storage.read(one.key)) for one in storage.stored())


def test_a_file_is_known_by_an_id_that_reveals_nothing(files: Files, hands: Hands) -> None:
    file = send(files, b"abc", "a")
    assert file == files.get(file.id)
    assert (file.hash, file.size, file.kind) == (sha256(b"abc").hexdigest(), 3, "audio/flac")
    assert (file.created, file.expires) == (hands.wall, hands.wall + KEPT)
    assert b"".join(files.read(file.id, "a", start=1)) == b"bc"
    with files.local(file.id) as path:
        assert path.read_bytes() == b"abc"
    stored = next(iter(files.storage.stored())).key
    assert stored not in repr(file) and file.id not in stored and file.hash[:8] not in file.id


def test_a_file_of_another_key_does_not_exist(files: Files) -> None:
    file = send(files, b"abc", "a")
    for call in (files.get, files.read, files.local, files.delete):
        with pytest.raises(UnknownId):
            call(file.id, "b")
    assert files.get(file.id, "a") == file


def test_equal_bytes_are_stored_once_and_removed_with_the_last(
    files: Files, storage: Folder
) -> None:
    one, two = send(files, b"abc", "a"), send(files, b"abc", "b")
    send(files, b"other")
    assert one.id != two.id and one.hash == two.hash
    assert blobs(storage) == [b"abc", b"other"]
    files.delete(one.id)
    assert b"".join(files.read(two.id)) == b"abc"
    files.delete(two.id)
    assert blobs(storage) == [b"other"]


def test_equal_bytes_whose_row_goes_meanwhile_are_stored_again(
    files: Files, storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = send(files, b"abc")
    known = files._known

    def removed_then(digest: str) -> bool:
        answer = known(digest)
        files.delete(one.id)
        return answer

    monkeypatch.setattr(files, "_known", removed_then)
    two = send(files, b"abc")
    assert b"".join(files.read(two.id)) == b"abc"
    assert blobs(storage) == [b"abc"]


def test_equal_bytes_that_come_at_the_same_time_are_stored_once(
    files: Files, storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_known", lambda digest: False)
    one, two = send(files, b"abc"), send(files, b"abc")
    assert blobs(storage) == [b"abc"]
    assert b"".join(files.read(one.id)) == b"".join(files.read(two.id)) == b"abc"


def test_a_database_that_fails_leaves_no_bytes(
    files: Files, storage: Folder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise DatabaseFailed("locked")

    monkeypatch.setattr(database, "write", fail)
    with pytest.raises(DatabaseFailed):
        send(files, b"abc")
    assert blobs(storage) == [] and list(storage.staging.iterdir()) == []


def test_audio_is_accepted_and_anything_else_is_not(files: Files, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((4000, 2), np.float32), 8000)
    for data, good in ((tmp_path / "a.wav").read_bytes(), True), (b"<html>", False):
        with files.receive("", "a\x1b.wav") as incoming:
            incoming.write(data)
            if good:
                file = incoming.accept()
                assert (file.kind, file.seconds, file.name) == ("audio/wav", 0.5, "a\\x1b.wav")
            else:
                with pytest.raises(InvalidSource, match="not audio"):
                    incoming.accept()
    assert len(list(files.storage.stored())) == 1


def test_a_file_that_was_not_accepted_is_gone(files: Files, storage: Folder) -> None:
    with files.receive("", "song") as incoming:
        incoming.write(b"abc")
    assert blobs(storage) == [] and list(storage.staging.iterdir()) == []


def test_a_local_file_is_copied(files: Files, tmp_path: Path) -> None:
    (tmp_path / "song.flac").write_bytes(b"abc" * 200_000)
    file = files.add(tmp_path / "song.flac", "a", "song.flac", "audio/flac", 2.0)
    assert b"".join(files.read(file.id)) == b"abc" * 200_000
    assert (file.owner, file.name, file.seconds) == ("a", "song.flac", 2.0)


def test_a_file_in_use_is_not_deleted(
    queue: Queue, worker: Worker, files: Files, library: Library
) -> None:
    source = send(files, b"source")
    job = queue.submit(Asked("{}", inputs=(source.id,)))
    with pytest.raises(Conflict, match="needed by a job"):
        files.delete(source.id)
    queue.cancel(job.id)
    files.delete(source.id)
    done = made(queue, worker, files, b"song")
    with pytest.raises(Conflict, match="output of a job"):
        files.delete(library.of_job(done.id)[0].file)


def test_the_outputs_of_a_job_are_listed_in_order(
    queue: Queue, worker: Worker, files: Files, library: Library
) -> None:
    first = made(queue, worker, files, b"1", b"2", key="a")
    second = made(queue, worker, files, b"3", key="b")
    assert [o.title for o in library.of_job(first.id)] == ["b'1'", "b'2'"]
    output = library.get(second.id, 1)
    assert (output.kind, output.seconds, output.size, output.tags) == ("audio/flac", 1.0, 1, "{}")
    for call in (library.of_job, library.delete):
        with pytest.raises(UnknownId):
            call(second.id, "a")
    with pytest.raises(UnknownId):
        library.get(second.id, 2)


def test_an_output_names_a_file_that_is_kept(queue: Queue, worker: Worker, files: Files) -> None:
    job = queue.submit(Asked("{}"))
    claim = worker.claim()
    assert claim is not None
    with pytest.raises(UnknownId):
        worker.finish(claim, made=[Made("gone")])
    assert queue.get(job.id).state == "running"
    file = send(files, b"song")
    worker.finish(claim, made=[Made(file.id, parent="the file before")])
    assert files.get(file.id).expires is None


def test_deleting_a_job_leaves_nothing_of_it(
    queue: Queue,
    worker: Worker,
    files: Files,
    library: Library,
    database: Database,
    storage: Folder,
) -> None:
    kept = made(queue, worker, files, b"kept", b"both")
    job = made(queue, worker, files, b"gone", b"both")
    library.delete(job.id)
    with pytest.raises(UnknownId):
        queue.get(job.id)
    assert blobs(storage) == [b"both", b"kept"]
    with database.read() as connection:
        for table in (events, outputs):
            jobs = connection.scalars(select(table.c.job).distinct()).all()
            assert jobs == [kept.id]
        assert connection.scalar(select(func.count()).select_from(rows)) == 2


def test_a_running_job_is_not_deleted(queue: Queue, worker: Worker, library: Library) -> None:
    job = queue.submit(Asked("{}"))
    claim = worker.claim()
    assert claim is not None
    with pytest.raises(Conflict, match="cancel it first"):
        library.delete(job.id)
    assert worker.beat(claim) == "go"
    worker.finish(claim)
    library.delete(job.id)


def test_a_queued_job_can_be_deleted(
    queue: Queue, worker: Worker, library: Library, database: Database, files: Files
) -> None:
    job = queue.submit(Asked("{}", inputs=(send(files, b"source").id,)))
    library.delete(job.id)
    assert worker.claim() is None
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(inputs)) == 0


def test_an_output_that_another_job_reads_outlives_its_job(
    queue: Queue,
    worker: Worker,
    files: Files,
    library: Library,
    database: Database,
    storage: Folder,
) -> None:
    first = made(queue, worker, files, b"song")
    source = library.of_job(first.id)[0].file
    second = queue.submit(Asked("{}", inputs=(source,)))
    library.delete(first.id)
    retention = Retention(database, files)
    assert retention.sweep().files == 0
    assert b"".join(files.read(source)) == b"song"
    queue.cancel(second.id)
    assert retention.sweep().files == 1
    assert blobs(storage) == []


def test_old_jobs_are_removed_and_young_ones_stay(
    queue: Queue, worker: Worker, files: Files, database: Database, hands: Hands, storage: Folder
) -> None:
    retention = Retention(database, files, hands.clock, age=100.0)
    old = made(queue, worker, files, b"old")
    queue.cancel(queue.submit(Asked("{}")).id)
    hands.pass_by(60)
    young = made(queue, worker, files, b"young")
    waiting = queue.submit(Asked("{}"))
    assert retention.sweep() == Swept()
    hands.pass_by(50)
    assert retention.sweep() == Swept(jobs=2)
    with pytest.raises(UnknownId):
        queue.get(old.id)
    assert queue.get(young.id).state == "done" and queue.get(waiting.id).state == "queued"
    assert blobs(storage) == [b"young"]


def test_above_the_quota_the_oldest_go(
    queue: Queue, worker: Worker, files: Files, database: Database, hands: Hands, storage: Folder
) -> None:
    jobs = []
    for n in range(4):
        jobs.append(made(queue, worker, files, bytes([n]) * 100))
        hands.pass_by(1)
    assert Retention(database, files, hands.clock, quota=400).sweep().jobs == 0
    assert Retention(database, files, hands.clock, quota=399).sweep().jobs == 1
    assert Retention(database, files, hands.clock, quota=250).sweep().jobs == 1
    assert [b[0] for b in blobs(storage)] == [2, 3]
    assert queue.get(jobs[3].id).state == "done"
    assert Retention(database, files, hands.clock, quota=0).sweep().jobs == 2


def test_uploads_that_no_job_uses_expire(
    queue: Queue, files: Files, database: Database, hands: Hands
) -> None:
    retention = Retention(database, files, hands.clock)
    unused, used = send(files, b"unused"), send(files, b"used")
    job = queue.submit(Asked("{}", inputs=(used.id,)))
    hands.pass_by(KEPT - 1)
    assert retention.sweep() == Swept()
    hands.pass_by(1)
    assert retention.sweep() == Swept(files=1)
    with pytest.raises(UnknownId):
        files.get(unused.id)
    assert files.get(used.id) == used
    queue.cancel(job.id)
    assert retention.sweep() == Swept(files=1)


def test_jobs_past_their_deadline_expire_without_a_worker(
    queue: Queue, files: Files, database: Database, hands: Hands
) -> None:
    job = queue.submit(Asked("{}", within=5.0))
    hands.pass_by(5)
    assert Retention(database, files, hands.clock).sweep() == Swept(expired=1)
    assert queue.get(job.id).state == "expired"


def test_bytes_without_a_row_are_swept_but_not_at_once(
    files: Files, database: Database, hands: Hands, storage: Folder
) -> None:
    retention = Retention(database, files, hands.clock)
    send(files, b"kept")
    (storage.staging / "x").write_bytes(b"orphan")
    storage.take(storage.staging / "x")
    assert retention.sweep() == Swept()
    hands.wall += 1e9  # by whatever the wall clock was set
    assert retention.sweep().orphans == 0
    hands.wall -= 1e9
    hands.steady += retention_module._ORPHAN_SECONDS
    assert retention.sweep().orphans == 1
    assert b"orphan" not in blobs(storage)


def test_what_a_dead_process_left_on_its_way_in_is_swept(
    files: Files, database: Database, hands: Hands, storage: Folder
) -> None:
    retention = Retention(database, files, hands.clock)
    (storage.staging / "dead.part").write_bytes(b"half")
    with files.receive("", "song") as incoming:
        incoming.write(bytes(1 << 20))
        assert retention.sweep().left == 0
        hands.wall += 1e9
        hands.steady += retention_module._LEFT_SECONDS / 2
        incoming.write(bytes(1 << 20))
        assert retention.sweep().left == 0
        hands.steady += retention_module._LEFT_SECONDS / 2
        assert retention.sweep().left == 1
        assert incoming.keep("text/plain").size == 2 << 20
    assert list(storage.staging.iterdir()) == []
