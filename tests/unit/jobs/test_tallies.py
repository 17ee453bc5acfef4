"""The counters: each change of a job is counted once, and stays counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headroom.errors import ClaimLost
from headroom.jobs.database import Database
from headroom.jobs.files import Files
from headroom.jobs.library import Library
from headroom.jobs.queue import Queue
from headroom.jobs.tallies import Count, Tally, Totals, add, totals
from headroom.jobs.values import Asked, Claim, Told
from headroom.jobs.watch import RETRIES, Watch
from headroom.jobs.worker import Worker
from headroom.storage.folder import Folder
from support.clock import Hands


def counted(database: Database) -> Totals:
    return {tally: found for tally, found in totals(database).items() if found}


def claimed(worker: Worker) -> Claim:
    claim = worker.claim()
    assert claim is not None
    return claim


def test_a_new_database_has_counted_nothing(database: Database) -> None:
    assert counted(database) == {}


def test_endings_are_counted_by_state_and_once(
    database: Database, queue: Queue, worker: Worker, hands: Hands
) -> None:
    ids = [queue.submit(Asked("{}")).id for _ in range(4)]
    queue.submit(Asked("{}", within=5))
    queue.cancel(ids[3])
    queue.cancel(ids[3])
    first = claimed(worker)
    worker.finish(first)
    with pytest.raises(ClaimLost):
        worker.finish(first)
    worker.fail(claimed(worker), "{}")
    stopped = claimed(worker)
    queue.cancel(stopped.job)
    worker.give_back(stopped)
    hands.pass_by(6)
    queue.submit(Asked("{}"))
    worker.give_back(claimed(worker))  # it has not ended, and the late one has
    ended = {"done": 1, "failed": 1, "cancelled": 2, "expired": 1}
    assert counted(database)[Tally.ENDED] == ended


def test_waits_are_counted_at_the_first_claim(
    database: Database, queue: Queue, worker: Worker, hands: Hands
) -> None:
    for seconds in (0, 1, 2, 61, 4000):
        queue.submit(Asked("{}"))
        hands.pass_by(seconds)
        claim = claimed(worker)
        worker.give_back(claim)
        hands.pass_by(100)
        worker.finish(claimed(worker))
    found = counted(database)
    assert found[Tally.WAITED] == {"1.0": 2, "5.0": 1, "300.0": 1, "inf": 1}
    assert found[Tally.WAIT_SECONDS] == {"": pytest.approx(4064)}


def test_a_clock_that_was_set_back_makes_no_negative_wait(
    database: Database, queue: Queue, worker: Worker, hands: Hands
) -> None:
    queue.submit(Asked("{}"))
    hands.wall -= 50
    claimed(worker)
    assert counted(database)[Tally.WAIT_SECONDS] == {"": 0}


def test_deaths_of_workers_are_counted(
    database: Database, queue: Queue, worker: Worker, hands: Hands
) -> None:
    queue.submit(Asked("{}"))
    watch = Watch(database, hands.clock)
    for _ in range(RETRIES + 1):
        claimed(worker)
        watch.take_back(worker.holder)
    found = counted(database)
    assert found[Tally.LOST] == {"": RETRIES + 1}
    assert found[Tally.ENDED] == {"failed": 1}


def test_what_is_told_and_made_is_counted_with_it(
    database: Database, queue: Queue, worker: Worker
) -> None:
    queue.submit(Asked("{}"))
    claim = claimed(worker)
    spent = Count(Tally.STAGE_SECONDS, "decode", 1.5)
    worker.tell(claim, [Told("{}", counts=(spent, spent)), Told("{}", True, (spent,))])
    worker.finish(claim, counts=[Count(Tally.CLAMPED, "duration")])
    with pytest.raises(ClaimLost):
        worker.tell(claim, [Told("{}", counts=(spent,))])
    found = counted(database)
    assert found[Tally.STAGE_SECONDS] == {"decode": 4.5}
    assert found[Tally.CLAMPED] == {"duration": 1}


def test_counters_outlive_their_jobs(
    database: Database, queue: Queue, worker: Worker, tmp_path: Path
) -> None:
    queue.submit(Asked("{}"))
    claim = claimed(worker)
    worker.finish(claim)
    before = counted(database)
    Library(database, Files(database, Folder(tmp_path), floor=0)).delete(claim.job)
    assert counted(database) == before and before[Tally.ENDED] == {"done": 1}


def test_many_count_at_once(database: Database) -> None:
    labels = ["a", "b", "c"]

    def count(turn: int) -> None:
        order = labels if turn % 2 else labels[::-1]
        with database.write() as connection:
            add(connection, [Count(Tally.STAGES, label) for label in order])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(40)))
    assert counted(database) == {Tally.STAGES: dict.fromkeys(labels, 40.0)}
