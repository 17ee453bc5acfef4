"""Events of a run, as values: all that progress bars, reports and the profiler read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from headroom.lm.token_timing import TokenTiming


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins; it is planned to use at most `planned` bytes on the device."""

    stage: str
    planned: int


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of a stage (steps, tiles) are finished."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage has ended: bytes planned, peak bytes measured, seconds (`loading` of them loading).

    `counted`: the peak is that of tensors, as in the plan; otherwise it is the growth of the whole
    process, which includes threads and libraries.
    """

    stage: str
    planned: int
    measured: int
    seconds: float
    loading: float = 0.0
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Replanned:
    """The stage ran out of memory and runs again under a tighter plan."""

    stage: str
    why: str
    same_output: bool


@dataclass(frozen=True, slots=True)
class Wrote:
    """A language model has finished a text, or the codes of a group of songs."""

    stage: str
    spent: TokenTiming


Event: TypeAlias = StageStarted | Progress | StageDone | Replanned | Wrote
Tell: TypeAlias = Callable[[Event], None]
Stop: TypeAlias = Callable[[], bool]


def tell_nobody(event: Event) -> None:
    """A listener that ignores every event."""


def never() -> bool:
    """A stop check that never asks to stop."""
    return False
