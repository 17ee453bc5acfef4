"""What happens to a job, read by a thread from the service's stream of events."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread
from types import TracebackType
from typing import Self

import httpx2

from headroom.client.link import Away, Link
from headroom.engine.wire import Json
from headroom.errors import HeadroomError
from headroom.files import parse_json

END = "end"


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a job; `ended`: it is the job itself, which has ended."""

    view: Json
    ended: bool = False


class Story:
    """The events of a job, each once and in order, within a block.

    A connection that breaks is made again behind the last event, as after a restart of the service.
    """

    def __init__(self, link: Link, job: str) -> None:
        self._link, self._job = link, job
        self._steps: SimpleQueue[Step | HeadroomError] = SimpleQueue()
        self._over = Flag()
        self._told = 0

    def __enter__(self) -> Self:
        Thread(target=self._read, name=f"events of {self._job}", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._over.set()

    def next(self, seconds: float) -> Step | None:
        """The next event; None: there was none for so long. Raises HeadroomError."""
        try:
            step = self._steps.get(timeout=seconds)
        except Empty:
            return None
        if isinstance(step, HeadroomError):
            raise step
        return step

    def _read(self) -> None:
        try:
            while not self._over.is_set() and not self._link.tried(self._heard):
                pass
        except HeadroomError as error:
            self._steps.put(error)

    def _heard(self) -> bool:
        """Read one stream to its end; whether the job has ended. Raises Away where it broke off
        before it told anything new."""
        before = self._told
        path, last = f"/v1/jobs/{self._job}/events", {"Last-Event-ID": str(self._told)}
        try:
            with self._link.streamed(path, headers=last) as response:
                for event in httpx2.EventSource(response):
                    if self._over.is_set():
                        return True
                    if event.data and self._put(event):
                        return True
        except Away:
            if self._told == before:
                raise
        return False

    def _put(self, event: httpx2.ServerSentEvent) -> bool:
        """Pass an event on, unless it was passed on before; whether it is the last one."""
        view: object = None
        with suppress(ValueError):
            view = parse_json(event.data)
        if not isinstance(view, dict):
            raise Away("sends events that this program cannot read")
        if event.event == END:
            self._steps.put(Step(view, ended=True))
            return True
        number = view.get("number")
        if isinstance(number, int) and number > self._told:
            self._told = number
            self._steps.put(Step(view))
        return False
