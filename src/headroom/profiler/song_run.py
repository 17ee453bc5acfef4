"""Measures one song: a warm-up, the measured run, and reference runs for its components."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headroom.engine.engine import Engine
from headroom.engine.result import SongResult
from headroom.errors import Cancelled
from headroom.memory.footprint import DENOISE, WRITE
from headroom.models.base import Planned
from headroom.models.registry import family_named
from headroom.params.request import Request
from headroom.profiler.breakdown import (
    Breakdown,
    breakdown,
    guidance_share,
    is_guided,
)
from headroom.profiler.console import Console
from headroom.profiler.trace import Overhead, Span, Trace, overhead
from headroom.runtime.events import Event, StageDone, Stop

SILENT = 1e-4  # of full scale: a song that stays below is silent


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured run.

    steps          of denoising, all passes together
    songs, silent  how many were made, and how many of them are silent
    audio_seconds  of all songs together
    """

    request: Request
    result: SongResult
    spans: tuple[Span, ...]
    wall: float
    save: float
    steps: int
    songs: int
    silent: int
    audio_seconds: float
    overhead: Overhead

    def parts(self, guidance: float | None = None) -> Breakdown:
        """The breakdown of its seconds; `guidance` comes from `guidance_apart`."""
        return breakdown(self.spans, self.wall, self.save, self.steps, guidance)

    def without_tensors(self) -> Measured:
        """The same without the songs themselves, for callers that keep many runs."""
        bare = replace(self.result.output, audios=(), kept={})
        return replace(self, result=replace(self.result, output=bare))

    @property
    def language(self) -> str | None:
        """The language model that was used; None: none."""
        return None if self.result.thought is None else self.result.thought.language

    @property
    def planned_seconds(self) -> dict[str, float]:
        """The planned seconds by stage."""
        reports = [r for r in (self.result.thought, self.result.report) if r is not None]
        return {s.stage: s.planned_seconds for report in reports for s in report.stages}

    @property
    def planned_bytes(self) -> int:
        """The largest planned peak."""
        return max((span.planned for span in self.spans), default=0)

    @property
    def measured_bytes(self) -> int:
        """The largest measured peak."""
        return max((span.measured for span in self.spans), default=0)


def measure(engine: Engine, request: Request, stop: Stop) -> Measured:
    """Make the songs and write them to a temporary folder, recording the events.

    Raises what `Engine.generate` raises.
    """
    trace = Trace()
    with tempfile.TemporaryDirectory(prefix="headroom-") as folder:
        began = time.perf_counter()
        result = engine.generate(request, trace, stop)
        generated = time.perf_counter()
        result.save(Path(folder) / "song.flac")
        ended = time.perf_counter()
    return Measured(
        request=request,
        result=result,
        spans=trace.spans,
        wall=ended - began,
        save=ended - generated,
        steps=_steps(engine, result, trace.spans),
        songs=len(result.audios),
        silent=sum(1 for audio in result.audios if float(audio.samples.abs().max()) < SILENT),
        audio_seconds=sum(audio.seconds for audio in result.audios),
        overhead=overhead(trace),
    )


def warm_up(engine: Engine, request: Request, console: Console) -> float:
    """Do the same work once before, so that one-time costs are not measured; its seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="headroom-") as folder:
        result = engine.generate(request, console.tell, console.stop)
        result.save(Path(folder) / "song.flac")
    console.notes(result.notes)
    return time.perf_counter() - began


def guidance_apart(engine: Engine, measured: Measured, warm: bool, stop: Stop) -> float | None:
    """The share of the codes' time that guidance takes, for `breakdown`; None where there was no
    guidance.

    The codes are written once more without it; where the measured run was the first one, not
    `warm`, also once more with it, so that both runs compared are warm.
    """
    request = measured.request
    if not isinstance(request, Planned) or not is_guided(measured.spans):
        return None
    guided = measured.spans if warm else _codes_alone(engine, request, stop)
    plain = request.model_copy(update={"lm_cfg_scale": 1.0})
    return guidance_share(guided, _codes_alone(engine, plain, stop))


def _codes_alone(engine: Engine, request: Request, stop: Stop) -> tuple[Span, ...]:
    """The stages of a run that ends when codes are written."""
    trace = Trace()
    written = [False]

    def listen(event: Event) -> None:
        trace(event)
        written[0] |= isinstance(event, StageDone) and event.stage == WRITE

    try:
        engine.generate(request, listen, lambda: written[0] or stop())
    except Cancelled:
        if stop():
            raise
    return trace.spans


def _steps(engine: Engine, result: SongResult, spans: Sequence[Span]) -> int:
    steps = family_named(engine.family).steps_of
    if steps is None:
        return 0
    return steps(result.songs[0]) * sum(1 for span in spans if span.stage == DENOISE)
