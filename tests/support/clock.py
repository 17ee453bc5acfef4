"""Clocks for tests of what is timed."""

from __future__ import annotations

from dataclasses import dataclass, field

from headroom.jobs.clock import Clock as JobClock


class Clock:
    """A clock that goes when it is told to; it stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class Hands:
    """The two clocks of jobs, which go when they are told to, and the wall clock backwards too."""

    wall: float = 1e9
    steady: float = 50.0
    clock: JobClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = JobClock(lambda: self.wall, lambda: self.steady)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds
