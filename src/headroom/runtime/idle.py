"""Move idle parts off the device, in one thread that sleeps until the next part is due."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from headroom.log import log
from headroom.runtime.entry import State
from headroom.runtime.pool import Pool

OFTEN = 1.0  # seconds between two checks while a part is leased


def nothing() -> None:
    """Do nothing; the default for `first`."""


class IdleWatch:
    """Offloads each part of a pool after `seconds` without use. Must be closed.

    `first` is called before each check. The watch also ends when the pool is garbage-collected.
    """

    def __init__(self, pool: Pool, seconds: float, first: Callable[[], None] = nothing) -> None:
        self._pool, self.seconds, self._first = weakref.ref(pool), seconds, first
        self._ended, self._awake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="idle parts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch. May be called again."""
        self._ended.set()
        self._awake.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def change(self, seconds: float) -> None:
        """From now on, offload parts after so many seconds without use."""
        self.seconds = seconds
        self._awake.set()

    def _run(self) -> None:
        while True:
            self._awake.wait(self._due())
            if self._ended.is_set():
                return
            self._awake.clear()
            self._first()
            pool = self._pool()
            if pool is None:
                return
            for name in pool.expire(self.seconds):
                log.debug("idle: %s has left the device", name)
            del pool

    def _due(self) -> float:
        """Seconds until the next part is due; the full idle time if no part is on the device."""
        pool = self._pool()
        parts = () if pool is None else pool.status()
        on_device = (State.DEVICE, State.PASSING)
        idle = [s.idle_seconds for s in parts if s.state in on_device]
        waiting = [self.seconds - seconds for seconds in idle if seconds is not None]
        if None in idle:  # a lease may have been left behind
            waiting.append(OFTEN)
        return max(0.01, min([*waiting, self.seconds]))
