"""Take idle parts off the device: one thread that sleeps until the next part is due."""

from __future__ import annotations

import threading

from headroom.log import log
from headroom.runtime.pool import Pool, State


class IdleWatch:
    """Offloads each part of a pool once nobody has used it for `seconds`. Close it."""

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool, self.seconds = pool, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="idle parts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._due()):
            for name in self._pool.expire(self.seconds):
                log.debug("idle: %s has left the device", name)

    def _due(self) -> float:
        """Seconds until the next part is due; as long as a part takes, where none is there."""
        here = (State.DEVICE, State.PASSING)
        idle = [s.idle_seconds for s in self._pool.status() if s.state in here]
        waiting = [self.seconds - seconds for seconds in idle if seconds is not None]
        return max(0.01, min([*waiting, self.seconds]))
