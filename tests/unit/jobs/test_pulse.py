"""Heartbeats from a thread of their own."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import select

from headroom.errors import DatabaseFailed, StorageFull
from headroom.jobs.database import Database
from headroom.jobs.pulse import BEAT_SECONDS, Pulse
from headroom.jobs.queue import Queue
from headroom.jobs.tables import jobs
from headroom.jobs.values import Asked, Claim
from headroom.jobs.watch import PATIENCE, Watch
from headroom.jobs.worker import Worker

EVERY = 0.01


@pytest.fixture
def claim(queue: Queue, worker: Worker) -> Claim:
    queue.submit(Asked("{}"))
    claim = worker.claim()
    assert claim is not None
    return claim


def beats(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(jobs.c.beat)) or 0


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(EVERY)


def test_it_beats_until_its_block_ends(database: Database, worker: Worker, claim: Claim) -> None:
    with Pulse(worker, claim, EVERY) as pulse:
        until(lambda: beats(database) >= 3)
        assert pulse.order == "go"
    last = beats(database)
    time.sleep(5 * EVERY)
    assert beats(database) == last


def test_it_learns_of_a_cancellation(queue: Queue, worker: Worker, claim: Claim) -> None:
    with Pulse(worker, claim, EVERY) as pulse:
        queue.cancel(claim.job)
        until(lambda: pulse.order == "cancel")
    worker.stopped(claim)
    assert queue.get(claim.job).state == "cancelled"


def test_a_cancellation_is_learned_between_two_heartbeats(
    database: Database, queue: Queue, worker: Worker, claim: Claim
) -> None:
    with Pulse(worker, claim, 3600) as pulse:
        assert pulse.order == "go"
        queue.cancel(claim.job)
        until(lambda: pulse.order == "cancel")
    assert beats(database) == 0


def test_it_keeps_beating_while_the_work_is_stopped(
    database: Database, queue: Queue, worker: Worker, claim: Claim
) -> None:
    queue.cancel(claim.job)
    with Pulse(worker, claim, EVERY) as pulse:
        until(lambda: pulse.order == "cancel")
        seen = beats(database)
        until(lambda: beats(database) > seen)


def test_it_learns_that_the_job_is_lost(database: Database, worker: Worker, claim: Claim) -> None:
    with Pulse(worker, claim, EVERY) as pulse:
        Watch(database).take_back(claim.holder)
        until(lambda: pulse.order == "lost")


def test_it_survives_a_database_that_fails_for_a_while(
    database: Database, worker: Worker, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat, failed = worker.beat, []

    def sometimes(claim: Claim) -> object:
        if len(failed) < 3:
            failed.append(1)
            raise DatabaseFailed("locked") if len(failed) < 3 else StorageFull(0, 0)
        return beat(claim)

    monkeypatch.setattr(worker, "beat", sometimes)
    with Pulse(worker, claim, EVERY) as pulse:
        until(lambda: beats(database) >= 1)
        assert pulse.order == "go" and len(failed) == 3


def test_several_heartbeats_fit_into_the_patience() -> None:
    assert BEAT_SECONDS * 5 <= PATIENCE
