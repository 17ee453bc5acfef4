"""What a run told, with the time of each word: the profiler listens, and touches nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headroom.lm.token_timing import TimedGrammar, TokenStopwatch, TokenTiming
from headroom.runtime.events import Event, Progress, Replanned, StageDone, StageStarted, Wrote

CALLS = 2000  # that the cost of listening is measured over, five times


@dataclass(frozen=True, slots=True)
class Span:
    """A stage that ended. Seconds from the beginning of the trace, and bytes.

    loading  seconds until its parts were there; `working`: the rest
    wrote    what a language model read and wrote in it
    tried    how often it ran out of memory before
    """

    stage: str
    began: float
    ended: float
    loading: float
    working: float
    planned: int
    measured: int
    wrote: tuple[TokenTiming, ...] = ()
    tried: int = 0


class Trace:
    """A listener of the engine that remembers."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self._heard: list[tuple[float, Event]] = []

    def __call__(self, event: Event) -> None:
        """Remember it."""
        self._heard.append((time.perf_counter(), event))

    @property
    def events(self) -> int:
        """How many were heard."""
        return len(self._heard)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The stages that ended, in order."""
        found: list[Span] = []
        wrote: list[TokenTiming] = []
        began, tried = self.began, 0
        for at, event in self._heard:
            if isinstance(event, StageStarted):
                began, wrote = at, []
            elif isinstance(event, Wrote):
                wrote.append(event.spent)
            elif isinstance(event, Replanned):
                tried += 1
            elif isinstance(event, StageDone):
                span = Span(
                    event.stage, began - self.began, at - self.began, event.loading,
                    event.seconds - event.loading, event.planned, event.measured,
                    tuple(wrote), tried,
                )  # fmt: skip
                found.append(span)
                tried = 0
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Overhead:
    """What measuring itself took: events heard, calls of a grammar timed, and the seconds of one
    of each, as measured here."""

    events: int
    event_seconds: float
    timed: int
    timed_seconds: float

    @property
    def seconds(self) -> float:
        """All together."""
        return self.events * self.event_seconds + self.timed * self.timed_seconds


def overhead(trace: Trace) -> Overhead:
    """Of a trace that is over."""
    spent = [one for span in trace.spans for one in span.wrote]
    timed = sum(3 * one.drawn for one in spent if one.grammar)  # asked twice a token, told once
    return Overhead(trace.events, _event_seconds(), timed, _timed_seconds())


def _event_seconds() -> float:
    trace, event = Trace(), Progress("", 0, 1)

    def once() -> None:
        for _ in range(CALLS):
            trace(event)

    return _median(once)


class _Nothing:
    """A grammar that costs nothing, so that what is left is the watch."""

    done = False

    def __init__(self) -> None:
        self._none = torch.empty(0, dtype=torch.long)

    def forced(self) -> tuple[int, ...]:
        """Nothing."""
        return ()

    def allowed(self) -> Tensor:
        """Nothing."""
        return self._none

    def take(self, token: int) -> None:
        """Nothing."""


def _timed_seconds() -> float:
    nothing = _Nothing()
    timed = TimedGrammar(nothing, TokenStopwatch())

    def watched() -> None:
        for _ in range(CALLS):
            timed.forced()

    def plain() -> None:
        for _ in range(CALLS):
            nothing.forced()

    return max(0.0, _median(watched) - _median(plain))


def _median(calls: Callable[[], None]) -> float:
    """Seconds of one of CALLS calls."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        calls()
        times.append((time.perf_counter() - began) / CALLS)
    return statistics.median(times)
