"""What happened, as values. Progress bars, reports and the profiler read these and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from headroom.lm.token_timing import TokenTiming


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins; `planned` bytes on the device at most."""

    stage: str
    planned: int


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of a stage (steps, tiles)."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage has ended: bytes planned, bytes measured at most, seconds (`loading` of them).

    `counted`: tensors were measured, as they are planned; else the growth of the whole process,
    which threads and libraries share.
    """

    stage: str
    planned: int
    measured: int
    seconds: float
    loading: float = 0.0
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Replanned:
    """The stage ran out of memory and is called again under a tighter plan."""

    stage: str
    why: str
    same_output: bool


@dataclass(frozen=True, slots=True)
class Wrote:
    """A language model has written a text, or the codes of a group of songs."""

    stage: str
    spent: TokenTiming


Event: TypeAlias = StageStarted | Progress | StageDone | Replanned | Wrote
Tell: TypeAlias = Callable[[Event], None]
Stop: TypeAlias = Callable[[], bool]


def tell_nobody(event: Event) -> None:
    """The listener of those who do not listen."""


def never() -> bool:
    """The question "stop?" of those who never stop."""
    return False
