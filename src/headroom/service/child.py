"""A child process that is started again whenever it ends."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from headroom.log import log
from headroom.service.lifeline import GRACE, release
from headroom.service.start import SEAT_TAKEN

LEAST_SECONDS, MOST_SECONDS = 0.2, 30.0  # before it is started again; doubled each time
STEADY_SECONDS = 10.0  # a process that lasted so long is started again at once
SEAT_SECONDS = 2.0  # between two looks whether a card is free


class Child:
    """A process that `start` starts, if it is to run now; `ended` is called when it has ended."""

    def __init__(
        self,
        name: str,
        start: Callable[[], subprocess.Popen[bytes] | None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._start, self._ended = name, start, ended
        self.process: subprocess.Popen[bytes] | None = None
        self._since = self._next = 0.0  # by the steady clock
        self._pause = LEAST_SECONDS

    def look(self) -> None:
        """Start it, if it does not run and its time has come. To be called again and again."""
        now = time.monotonic()
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            self._over(code, now)
        if now >= self._next:
            try:
                self.process, self._since = self._start(), now
            except OSError as error:  # the system has no room for another process
                log.warning("the %s cannot be started: %s", self._name, error.strerror)
            if self.process is None:
                self._next = now + SEAT_SECONDS

    def end(self) -> None:
        """Ask it to end; `wait` afterwards."""
        if self.process is not None:
            release(self.process)

    def wait(self, until: float) -> None:
        """Wait for its end, up to a time of the steady clock; then end it by force."""
        if self.process is None:
            return
        release(self.process)
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(GRACE)
        self.process = None
        self._ended()

    def _over(self, code: int, now: float) -> None:
        self.end()
        self.process = None
        self._ended()
        if code == SEAT_TAKEN:
            self._next = now + SEAT_SECONDS
            return
        steady = now - self._since >= STEADY_SECONDS
        self._pause = LEAST_SECONDS if steady else min(2 * self._pause, MOST_SECONDS)
        self._next = now + self._pause
        log.warning("the %s has ended (%d) and is started again", self._name, code)
