"""Records the events of a run with their times; the profiler listens and changes nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headroom.lm.token_timing import TimedGrammar, TokenStopwatch, TokenTiming
from headroom.runtime.events import Event, Progress, Replanned, StageDone, StageStarted, Wrote

CALLS = 2000  # over which the cost of listening is measured, five times


@dataclass(frozen=True, slots=True)
class Span:
    """A finished stage. Seconds from the beginning of the trace, and bytes.

    loading  seconds until its parts were ready; `working`: the rest
    wrote    what a language model read and wrote in it
    tried    how often it had run out of memory before
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
    """An event listener for the engine that records everything it hears."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self._heard: list[tuple[float, Event]] = []

    def __call__(self, event: Event) -> None:
        """Record the event."""
        self._heard.append((time.perf_counter(), event))

    @property
    def events(self) -> int:
        """The number of events heard."""
        return len(self._heard)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The finished stages, in order."""
        spans: list[Span] = []
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
                spans.append(span)
                tried = 0
        return tuple(spans)


@dataclass(frozen=True, slots=True)
class Overhead:
    """The overhead of measuring: the number of events heard and of grammar calls timed, and the
    seconds that one of each takes, as measured here."""

    events: int
    event_seconds: float
    timed: int
    timed_seconds: float

    @property
    def seconds(self) -> float:
        """The total overhead."""
        return self.events * self.event_seconds + self.timed * self.timed_seconds


def overhead(trace: Trace) -> Overhead:
    """The overhead of a finished trace."""
    spent = [one for span in trace.spans for one in span.wrote]
    timed = sum(3 * one.drawn for one in spent if one.grammar)  # two queries, one update a token
    return Overhead(trace.events, _event_seconds(), timed, _timed_seconds())


def _event_seconds() -> float:
    trace, event = Trace(), Progress("", 0, 1)

    def once() -> None:
        for _ in range(CALLS):
            trace(event)

    return _median(once)


class _Nothing:
    """A grammar that costs nothing, so that only the timing itself is measured."""

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
