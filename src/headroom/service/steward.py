"""Tells what an engine process has in its card's memory, and runs the errands that it gets.

Memory is given back at once, beside the work on a job: parts in use leave when it ends. A model is
loaded between two jobs, and downloaded beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Self

from headroom.engine.wire import Json, error_json
from headroom.engine.wire.forms import plain_object
from headroom.errors import (
    DatabaseFailed,
    HeadroomError,
    InternalFault,
    InvalidRequest,
    StorageFull,
)
from headroom.files import parse_json
from headroom.jobs.roster import Errand, Roster
from headroom.log import log
from headroom.runtime.events import Stop
from headroom.service.fetching import Fetching
from headroom.service.hidden import Hidden
from headroom.service.neighbours import Neighbours
from headroom.service.open_engines import Engines

OFFLOAD, RELEASE, TIMEOUT, LOAD = "offload", "release", "timeout", "load"
LOOK_SECONDS = 0.5  # between two looks for errands
TELL_SECONDS = 5.0  # between two tellings where nothing has changed


@dataclass
class Steward:
    """Looks after the engines of one process, under its name, within a block."""

    roster: Roster
    name: str
    engines: Engines
    hidden: Hidden
    job: str | None = None  # that is at work
    _loads: SimpleQueue[Errand] = field(default_factory=SimpleQueue)
    _taken: set[str] = field(default_factory=set)
    _waiting: frozenset[str] = frozenset()  # errands that had not ended at the last look
    _over: Event = field(default_factory=Event)
    _telling: Lock = field(default_factory=Lock)
    _last: str = ""
    _quiet: float = TELL_SECONDS

    def __post_init__(self) -> None:
        self._fetching = Fetching(self.engines.settings)
        self._neighbours = Neighbours()

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._run, name="steward", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *why: object) -> None:
        self._over.set()
        self._thread.join()
        try:
            with self._telling:  # a download that ends now tells nothing any more
                self.roster.leave(self.name)
        except (DatabaseFailed, StorageFull) as failed:
            log.warning("the end of %s: %s", self.name, failed)

    def load(self, stop: Stop) -> bool:
        """Load the model that was asked for first, if one was. To be called between jobs."""
        try:
            errand = self._loads.get_nowait()
        except Empty:
            return False
        self._carry_out(errand, lambda given: self._load(given, stop))
        return True

    def _load(self, given: Mapping[str, Any], stop: Stop) -> None:
        self.engines.load(given, stop)
        self.roster.choose(given["family"], given.get("model"))

    def look(self) -> None:
        """Run the errands that wait, and tell the status if it has changed or it is time to."""
        taken = frozenset(self._taken)  # first: one that ends meanwhile is not taken again
        waiting = self.roster.waiting(self.name)
        self._waiting = frozenset(one.id for one in waiting)
        for errand in waiting:
            if errand.id in taken:
                continue
            if errand.verb in _VERBS:
                self._carry_out(errand, _VERBS[errand.verb](self.engines))
                continue
            self._taken.add(errand.id)
            if errand.verb == LOAD:
                self._loads.put(errand)
            else:
                Thread(target=self._download, args=(errand,), name="download", daemon=True).start()
        self._quiet += LOOK_SECONDS
        self._tell()

    def status(self) -> Json:
        """What there is to tell: the engines that are open, and the job at work."""
        told = {"job": self.job, "downloads": self._fetching.view(), **self.engines.status()}
        told["neighbours"] = self._others() if told["management"] else None
        return self.hidden.object(plain_object(told))

    def _others(self) -> object:
        """The other processes on the cards, once an engine is open there; None: nobody knows."""
        cards = [card for engine in self.engines.opened() for card in engine.cards]
        return self._neighbours.of(*(str(card.device.torch) for card in cards))

    def _tell(self) -> str:
        """Tell the status if it has changed or it is time to; the status as JSON text."""
        with self._telling:
            text = json.dumps(self.status())
            due = self._quiet >= TELL_SECONDS or _lasting(text) != _lasting(self._last)
            if due and not self._over.is_set():
                self.roster.tell(self.name, text)
                self._last, self._quiet = text, 0.0
            return text

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                self.look()
            except (DatabaseFailed, StorageFull) as error:
                log.warning("errands: %s", error)
            except RuntimeError:
                if self.engines.have_a_device:
                    raise
                return  # nothing can be told of a lost device: the process ends after its job

    def _download(self, errand: Errand) -> None:
        def halted() -> bool:  # the process ends, or the download was called off
            return self._over.is_set() or errand.id not in self._waiting

        self._carry_out(errand, lambda given: self._fetching.fetch(errand.id, given, halted))

    def _carry_out(self, errand: Errand, work: Callable[[Mapping[str, Any]], None]) -> None:
        """Run an errand, and write down its outcome. One whose outcome cannot be written is run
        again."""
        try:
            error = self._failure(errand, work)
            answer = self._tell() if error is None else None  # the roster knows it first
            self.roster.end(errand.id, answer, error)
        except (DatabaseFailed, StorageFull) as failed:
            log.warning("the outcome of errand %s: %s", errand.verb, failed)
        finally:
            self._taken.discard(errand.id)

    def _failure(self, errand: Errand, work: Callable[[Mapping[str, Any]], None]) -> str | None:
        """Run an errand; the error that it failed with, as JSON text."""
        given = parse_json(errand.given)
        assert isinstance(given, dict)
        try:
            work(given)
        except HeadroomError as error:
            return json.dumps(self.hidden.object(error_json(error)))
        except Exception as error:
            log.exception("errand %s", errand.verb)
            return json.dumps(error_json(InternalFault(type(error).__name__)))
        return None


Given = Mapping[str, Any]


def _offload(engines: Engines) -> Callable[[Given], None]:
    def work(given: Given) -> None:
        for engine in _with_part(engines, given.get("part")):
            engine.offload(given.get("part"))

    return work


def _release(engines: Engines) -> Callable[[Given], None]:
    def work(given: Given) -> None:
        for engine in _with_part(engines, given.get("part")):
            engine.release(given.get("part"))

    return work


def _timeout(engines: Engines) -> Callable[[Given], None]:
    return lambda given: engines.set_idle_timeout(float(given["seconds"]))


_VERBS = {OFFLOAD: _offload, RELEASE: _release, TIMEOUT: _timeout}


def _with_part(engines: Engines, part: str | None) -> list[Any]:
    """The open engines that have this part; all of them for None. Raises InvalidRequest."""
    there = engines.opened()
    if part is None:
        return there
    known = {one.name for engine in there for one in engine.status()}
    if part not in known:
        raise InvalidRequest(
            "part", part, "one of " + ", ".join(sorted(known)) if known else "none"
        )
    return [engine for engine in there if part in {one.name for one in engine.status()}]


def _lasting(text: str) -> object:
    """What a status tells, without the numbers that change all the time."""
    if not text:
        return None
    told: Any = parse_json(text)
    told.pop("neighbours", None)
    for engine in told["engines"]:
        for name in ("allocated_bytes", "free_bytes"):
            for card in (engine, *engine.get("cards", ())):
                card.pop(name, None)
        for card in (engine, *engine.get("cards", ())):
            card["processes"] = [(one["name"], one["pid"]) for one in card.get("processes", ())]
        for part in engine["parts"]:
            part.pop("idle_seconds", None)
    return told
