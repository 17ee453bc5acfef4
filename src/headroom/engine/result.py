"""What a request became: its audio, and everything that is known about how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from headroom.audio.wave import Audio
from headroom.engine.provenance import Provenance
from headroom.memory.plan import Plan
from headroom.models.base import Song
from headroom.params.clamp import Note
from headroom.params.request import Request
from headroom.runtime.events import StageDone


@dataclass(frozen=True, slots=True)
class StageReport:
    """A stage, planned beside measured: bytes on the device at most, and seconds.

    `loading` of the seconds went by until the parts were there.
    """

    stage: str
    planned_bytes: int
    measured_bytes: int
    planned_seconds: float
    seconds: float
    loading: float


@dataclass(frozen=True, slots=True)
class Report:
    """All stages of a pass, and its wall-clock seconds from request to audio."""

    stages: tuple[StageReport, ...]
    seconds: float

    @property
    def planned_bytes(self) -> int:
        """The largest planned peak."""
        return max((s.planned_bytes for s in self.stages), default=0)

    @property
    def measured_bytes(self) -> int:
        """The largest measured peak."""
        return max((s.measured_bytes for s in self.stages), default=0)


def report(plan: Plan, done: Sequence[StageDone], seconds: float) -> Report:
    """The report of a pass."""
    stages = (
        StageReport(
            d.stage, d.planned, d.measured, plan.stage(d.stage).seconds, d.seconds, d.loading
        )
        for d in done
    )
    return Report(tuple(stages), seconds)


@dataclass(frozen=True, slots=True)
class Result:
    """The songs of one request.

    request     as it was carried out: inside its limits, every seed written into it
    audios      one for each song
    kept        tensors handed out beside the audio, such as `latents`; of the whole pass
    provenance  one for each song
    """

    request: Request
    audios: tuple[Audio, ...]
    songs: tuple[Song, ...]
    plan: Plan
    report: Report
    notes: tuple[Note, ...]
    provenance: tuple[Provenance, ...]
    kept: Mapping[str, Tensor]

    @property
    def audio(self) -> Audio:
        """The first song's."""
        return self.audios[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each song."""
        return tuple(song.seed for song in self.songs)
