"""Real processes that are killed in the middle of jobs: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select, text

from headroom.jobs import retention
from headroom.jobs.database import Database
from headroom.jobs.files import Files
from headroom.jobs.library import Library
from headroom.jobs.queue import Queue
from headroom.jobs.retention import Retention
from headroom.jobs.schema import open_database
from headroom.jobs.tables import files as rows
from headroom.jobs.tables import jobs
from headroom.jobs.values import Asked
from headroom.jobs.watch import Watch
from headroom.storage.folder import Folder
from support import job_worker
from support.clock import Hands
from support.databases import KINDS, copied

pytestmark = pytest.mark.ci

KILLS = 4
ENDS = "NEW.state IN ('done', 'failed', 'cancelled', 'expired')"
NOTE = "INSERT INTO ledger VALUES (NEW.id, NEW.state);"
# Kept by the database itself, whatever the program believes.
LEDGER = {
    "sqlite": (
        "CREATE TABLE ledger (job TEXT, state TEXT)",
        f"CREATE TRIGGER ended AFTER UPDATE OF state ON jobs WHEN {ENDS} BEGIN {NOTE} END",
    ),
    "postgresql": (
        "CREATE TABLE ledger (job TEXT, state TEXT)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql "
        f"AS 'BEGIN {NOTE} RETURN NEW; END'",
        f"CREATE TRIGGER ended AFTER UPDATE OF state ON jobs FOR EACH ROW WHEN ({ENDS}) "
        "EXECUTE FUNCTION note()",
    ),
}


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of its own for each test, with a ledger of endings."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_server").empty()
    else:
        url = str(copied(request.getfixturevalue("sqlite_model"), tmp_path))
    database = open_database(url)
    with database.write() as connection:
        for statement in LEDGER[request.param]:
            connection.execute(text(statement))
    database.close()
    return url


def start(where: str, tmp_path: Path, name: str, *moment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, job_worker.__file__, where]
    return subprocess.Popen([*command, str(tmp_path / "files"), name, *moment])


def check_ledger(database: Database, tmp_path: Path, accepted: list[str]) -> Counter[str]:
    """Every job ended once, with one output that is whole; no file belongs to nobody."""
    with database.read() as connection:
        ledger = connection.execute(text("SELECT job, state FROM ledger")).all()
        if database.is_sqlite:
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    assert sorted(job for job, _ in ledger) == sorted(accepted)
    storage = Folder(tmp_path / "files")
    files = Files(database, storage, floor=0)
    library, queue = Library(database, files), Queue(database)
    for job, state in ledger:
        outputs = library.of_job(job)
        assert len(outputs) == (state == "done")
        for output in outputs:
            assert b"".join(files.read(output.file)) == job.encode()
        numbers = [event.number for event in queue.story(job).events]
        assert numbers == sorted(set(numbers))
    hands = Hands(wall=time.time())
    sweeper = Retention(database, files, hands.clock)
    sweeper.sweep()
    hands.steady += retention._ORPHAN_SECONDS
    sweeper.sweep()
    with database.read() as connection:
        named = set(connection.scalars(select(rows.c.blob)))
    assert {one.key for one in storage.stored()} == named
    return Counter(state for _, state in ledger)


def test_workers_killed_at_random(where: str, database: Database, tmp_path: Path) -> None:
    queue, watch = Queue(database), Watch(database, patience=0.5)
    accepted = [queue.submit(Asked("{}", "abc"[n % 3])).id for n in range(30)]
    working = {name: start(where, tmp_path, name) for name in ("w0", "w1", "w2")}
    started, killed, until = len(working), 0, time.monotonic() + 60
    try:
        while killed < KILLS or queue.stats().counts.keys() - {"done", "failed"}:
            assert time.monotonic() < until, queue.stats()
            time.sleep(0.1)
            watch.look()
            if killed < KILLS:  # there is always something to be killed at
                accepted += [queue.submit(Asked("{}", key)).id for key in "abc"]
            with database.read() as connection:
                busy = set(connection.scalars(select(jobs.c.holder))) & set(working)
            if busy and killed < KILLS:
                name = random.choice(sorted(busy))
                process = working.pop(name)
                process.kill()
                process.wait()
                killed += 1
                if random.random() < 0.5:  # otherwise the heartbeat has to tell
                    watch.take_back(name)
                working[f"w{started}"] = start(where, tmp_path, f"w{started}")
                started += 1
    finally:
        for process in working.values():
            process.kill()
            process.wait()
    ended = check_ledger(database, tmp_path, accepted)
    assert killed == KILLS and ended["done"] >= len(accepted) - 2


@pytest.mark.parametrize("moment", job_worker.MOMENTS)
def test_a_worker_that_dies_at(moment: str, where: str, database: Database, tmp_path: Path) -> None:
    queue = Queue(database)
    job = queue.submit(Asked("{}"))
    process = start(where, tmp_path, "doomed", moment)
    assert process.wait(timeout=60) != 0
    claimed, ended = moment != job_worker.MOMENTS[0], moment == job_worker.MOMENTS[5]
    now = queue.get(job.id)
    assert now.state == ("done" if ended else "running" if claimed else "queued")
    assert Watch(database).take_back("doomed") == ([job.id] if claimed and not ended else [])
    second = start(where, tmp_path, "second")
    try:
        until = time.monotonic() + 30
        while queue.get(job.id).state != "done":
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        second.kill()
        second.wait()
    assert check_ledger(database, tmp_path, [job.id]) == {"done": 1}
