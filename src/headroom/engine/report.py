"""A report of a pass: what each stage took, beside what was planned. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headroom.memory.plan import Plan
from headroom.runtime.events import StageDone


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage, planned and measured: peak bytes on the device, and seconds.

    Of its seconds, `loading` were spent waiting for parts. `counted`: see `StageDone`. `card` is
    the number of its card in the group, from 0.
    """

    stage: str
    planned_bytes: int
    measured_bytes: int
    planned_seconds: float
    seconds: float
    loading: float
    counted: bool = True
    card: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """All stages of a pass, and its wall-clock seconds from request to audio.

    attention  the kernel that computes it
    advice     what would be faster here; None: nothing
    language   the language model that was used; None: none
    """

    stages: tuple[StageReport, ...]
    seconds: float
    attention: str = ""
    advice: str | None = None
    language: str | None = None

    @property
    def planned_bytes(self) -> int:
        """The largest planned peak."""
        return max((s.planned_bytes for s in self.stages), default=0)

    @property
    def measured_bytes(self) -> int:
        """The largest measured peak."""
        return max((s.measured_bytes for s in self.stages), default=0)


def report(
    plan: Plan,
    done: Sequence[StageDone],
    seconds: float,
    attention: str = "",
    advice: str | None = None,
) -> Report:
    """The report of a pass."""
    stages = (
        StageReport(
            d.stage,
            d.planned,
            d.measured,
            plan.stage(d.stage).seconds,
            d.seconds,
            d.loading,
            d.counted,
            plan.stage(d.stage).card,
        )
        for d in done
    )
    return Report(tuple(stages), seconds, attention, advice)
