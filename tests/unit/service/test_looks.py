"""What a poll and a follower cost the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from threading import Event
from typing import Any

import pytest
from sqlalchemy import event

from headroom.errors import DatabaseFailed
from headroom.jobs.queue import Queue
from headroom.jobs.values import Asked, Job
from headroom.service import looks
from headroom.service.looks import Looks, mark_of
from support.service_place import Place
from support.web import Engine, Service


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.01)


class Seen(Queue):
    """A queue that notes what it is asked."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.database)
        self.asked: list[set[str]] = []
        self.away = False

    def marks(self, ids: Iterable[str]) -> dict[str, tuple[int, str]]:
        self.asked.append(set(ids))
        if self.away:
            raise DatabaseFailed("away")
        return super().marks(self.asked[-1])


async def woken(one: Looks, job: Job, seconds: float = 30) -> None:
    await asyncio.wait_for(one.wait(job, seconds), 10)


def test_all_who_follow_are_served_by_one_look(place: Place) -> None:
    queue = Seen(place)
    some = [queue.submit(Asked("{}")) for _ in range(3)]

    async def follow() -> None:
        one = Looks(queue, Event())
        tasks = [asyncio.create_task(woken(one, job)) for job in some for _ in range(40)]
        while not queue.asked:
            await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks)
        queue.cancel(some[0].id)
        await asyncio.gather(*tasks[:40])
        assert not any(task.done() for task in tasks[40:])
        for job in some[1:]:
            queue.cancel(job.id)
        await asyncio.gather(*tasks)

    asyncio.run(follow())
    assert queue.asked[0] == {job.id for job in some}
    assert len(queue.asked) < 1000


@pytest.mark.parametrize("why", ["closing", "away", "gone", "time"])
def test_whoever_waits_is_woken(place: Place, why: str) -> None:
    queue, closing = Seen(place), Event()
    job = queue.submit(Asked("{}"))

    async def follow() -> None:
        one = Looks(queue, closing)
        task = asyncio.create_task(woken(one, job, 0.05 if why == "time" else 30))
        await asyncio.sleep(0.02)
        queue.away = why == "away"
        if why == "closing":
            closing.set()
        if why == "gone":
            place.library.delete(job.id)
        await task

    asyncio.run(follow())


def test_the_mark_of_a_job_is_that_of_its_row(place: Place) -> None:
    job = place.queue.submit(Asked("{}"))
    assert place.queue.marks([job.id, "none"]) == {job.id: mark_of(job)}


def test_the_same_is_read_once_for_all_who_ask_meanwhile(place: Place) -> None:
    reads: list[str] = []

    def read() -> str:
        reads.append("x")
        return "whole"

    def fail() -> str:
        raise DatabaseFailed("away")

    async def ask() -> None:
        one = Looks(place.queue, Event())
        assert await asyncio.gather(*(one.read("a", read) for _ in range(50))) == ["whole"] * 50
        assert await one.read("a", read) == "whole"
        for _ in range(2):
            with pytest.raises(DatabaseFailed):
                await one.read("b", fail)

    asyncio.run(ask())
    assert len(reads) == 2


def test_a_poll_is_one_statement(service: Service, engine: Engine) -> None:
    job = service.submit()
    claim = engine.claim()
    made: list[str] = []

    def note(*given: Any) -> None:
        made.append(str(given[2]))

    event.listen(service.doors.database.engine, "before_cursor_execute", note)
    assert service.client.get(f"/v1/jobs/{job}").json()["state"] == "running"
    assert [one.split()[0] for one in made] == ["BEGIN", "SELECT"]
    made.clear()
    engine.finish(claim)
    made.clear()
    assert len(service.client.get(f"/v1/jobs/{job}").json()["outputs"]) == 1
    assert [one.split()[0] for one in made] == ["BEGIN", "SELECT", "SELECT"]
