"""Heartbeats from a thread of their own, while the work on a job goes on in another."""

from __future__ import annotations

from threading import Event, Thread

from headroom.errors import DatabaseFailed, StorageFull
from headroom.jobs.values import Claim, Order
from headroom.jobs.worker import Worker
from headroom.log import log

BEAT_SECONDS = 1.0  # between two heartbeats
LOOK_SECONDS = 0.1  # between two looks whether the work is to stop: below the time of most steps


class Pulse:
    """Beats for a claim until its block ends. `order` begins as "go"; once a heartbeat or a look
    between two of them answered something else, the work has to stop, and it never is "go" again.

    A database that fails for a while is asked again. If that lasts too long, somebody else has the
    job, and the next heartbeat that arrives answers "lost".
    """

    def __init__(self, worker: Worker, claim: Claim, every: float = BEAT_SECONDS) -> None:
        self._worker, self._claim, self._every = worker, claim, every
        self._over = Event()
        self._thread = Thread(target=self._run, name=f"pulse {claim.job}", daemon=True)
        self.order: Order = "go"

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *why: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        left = self._every  # seconds until the next heartbeat
        while not self._over.wait(min(left, LOOK_SECONDS)):
            left -= LOOK_SECONDS
            ask = self._worker.look if left > 0 else self._worker.beat
            left = left if left > 0 else self._every
            try:
                order = ask(self._claim)
            except (DatabaseFailed, StorageFull) as error:
                log.warning("heartbeat of job %s: %s", self._claim.job, error)
                continue
            if order != "go":
                self.order = order
            if order == "lost":
                return
