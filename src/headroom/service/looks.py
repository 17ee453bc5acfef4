"""One look at the database for all who follow jobs of this process, however many they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from threading import Event
from typing import Any, TypeVar

from anyio.to_thread import run_sync

from headroom.errors import HeadroomError
from headroom.jobs.queue import Queue
from headroom.jobs.values import Job

LOOK_SECONDS = 0.2  # between two looks
Mark = tuple[int, str]  # how many events a job has told, and its state
T = TypeVar("T")


def mark_of(job: Job) -> Mark:
    """What changes when there is something new to be told of a job."""
    return job.told, job.state


class Looks:
    """Wakes those who wait for jobs. To be used within one event loop; when `closing` is set, all
    are woken."""

    def __init__(self, queue: Queue, closing: Event) -> None:
        self._queue, self._closing = queue, closing
        self._waiting: dict[asyncio.Future[None], tuple[str, Mark]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._reading: dict[Hashable, asyncio.Task[Any]] = {}

    async def wait(self, job: Job, seconds: float) -> None:
        """Return when there is more to tell of a job than in this view of it, when it is gone or
        the database is away, or after some seconds."""
        woken = asyncio.get_running_loop().create_future()
        self._waiting[woken] = job.id, mark_of(job)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        with suppress(TimeoutError):
            try:
                await asyncio.wait_for(woken, seconds)
            finally:
                del self._waiting[woken]

    async def read(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` returns in another thread. Those who ask for the same key meanwhile get the
        same. Raises what it raises."""
        task: asyncio.Task[T] | None = self._reading.get(key)
        if task is None:
            task = asyncio.create_task(run_sync(read))
            self._reading[key] = task
            task.add_done_callback(lambda _: self._reading.pop(key))
        return await asyncio.shield(task)

    async def _look(self) -> None:
        """Look again and again, as long as anybody waits."""
        while self._waiting:
            await asyncio.sleep(LOOK_SECONDS)
            now: dict[str, Mark] = {}
            if not self._closing.is_set():
                with suppress(HeadroomError):
                    now = await run_sync(
                        self._queue.marks, {id for id, _ in self._waiting.values()}
                    )
            for woken, (id, seen) in list(self._waiting.items()):
                if now.get(id) != seen and not woken.done():
                    woken.set_result(None)
