"""Runs the tier test's cases for one card size through the engine, on a capped or simulated card.

Everything is real except the weights of models that are not installed: tier detection, the plan,
the pool, the run and the accounting of bytes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from headroom.engine.result import Result
from headroom.engine.terms import NO_CHOICES
from headroom.errors import DoesNotFit, HeadroomError, OutOfMemory
from headroom.hardware.machine import CONTEXT, LEAST_RESERVE
from headroom.memory.footprint import DECODE, DENOISE, WRITE
from headroom.memory.limits import Terms, terms
from headroom.memory.plan import Plan
from headroom.models.acestep.cost.measures import is_plain
from headroom.models.acestep.networks.component_names import (
    CONDITION,
    DIT,
    LANGUAGE_MODEL,
    SCHEDULE,
    TEXT_ENCODER,
    VAE_DECODER,
)
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.synthetic import name_of
from headroom.params.describe import describe
from headroom.profiler.options import SEED
from headroom.profiler.tiers.engine import Card, TierEngine, card_for
from headroom.profiler.tiers.rows import Case, StageBytes, Status, TierRow, Work
from headroom.profiler.tiers.table import Published, detected, planned, published
from headroom.runtime.events import Event, Replanned
from headroom.settings import Settings
from headroom.units import GIB, gib

# For the released sizes in bfloat16 the plan states these exactly; for others it states an upper
# bound, as it does for denoising in a single step, which keeps nothing between steps.
EXACT = (WRITE, CONDITION, SCHEDULE, DENOISE, DECODE)
ROUNDED = 0.1  # s: a length is rounded to a tenth of a second, and to whole frames
# A song sheet that is partly filled in, so that the language model's planning stays short.
SHEET = {"bpm": 96, "keyscale": "C major"}


def rows_of(work: Work, settings: Settings, card: Card | None = None) -> Iterator[TierRow]:
    """A row for each case, as it finishes; a series ends with its first case that is not ok.

    Cases of one variant share an engine. Raises errors that are not caused by a case.
    """
    card = card_for(work) if card is None else card
    ended: set[str] = set()
    engine: TierEngine | None = None
    before: Case | None = None
    try:
        for case in work.cases:
            if case.series and case.series in ended:
                continue
            if engine is not None and before is not None and not _share(before, case):
                engine.close()
                engine = None
                gc.collect()
            row, engine = _row(work, case, card, settings, engine)
            before = case
            if case.series and not row.ok:
                ended.add(case.series)
            yield row
    finally:
        if engine is not None:
            engine.close()


def _share(one: Case, other: Case) -> bool:
    return one.variant == other.variant and one.choices == other.choices


@dataclass(slots=True)
class _Tried:
    """What is known of a case, however far it got."""

    engine: TierEngine | None = None
    plan: Plan | None = None
    result: Result | None = None
    init_seconds: float | None = None
    seconds: float | None = None


def _row(
    work: Work, case: Case, card: Card, settings: Settings, engine: TierEngine | None
) -> tuple[TierRow, TierEngine | None]:
    began = time.perf_counter()
    tried, faults, heard = _Tried(engine), list[str](), list[Event]()
    status: Status = "failed"
    try:
        _try(work, case, card, settings, tried, heard.append)
        faults += _faults(work, case, tried, heard)
        status = "failed" if faults else "ok"
    except DoesNotFit as error:
        words = f"{error.what} needs {gib(error.least)}, the budget is {gib(error.budget)}"
        status, faults = "does not fit", [words]
    except (torch.OutOfMemoryError, OutOfMemory) as error:
        where = "while making the song" if tried.init_seconds is not None else "while loading"
        faults = [f"out of memory {where}, though it was planned to fit: {_first_line(error)}"]
    except HeadroomError as error:
        faults = [f"{type(error).__name__}: {error}"]
    if status != "ok" and tried.engine is not None and tried.plan is not None:
        tried.engine.offload()  # the next case starts with an empty card
        gc.collect()
    wall = time.perf_counter() - began
    row = _told(work, case, card, tried, status, tuple(faults), wall)
    return row, tried.engine


def _try(work: Work, case: Case, card: Card, settings: Settings, tried: _Tried, tell: Any) -> None:
    """Open, plan, load, make the songs; the findings are left in `tried`."""
    began = time.perf_counter()
    if tried.engine is None:
        tried.engine = TierEngine(work, case, card, settings)
    engine, request = tried.engine, _request(work, case)
    tried.plan = engine.plan(request)
    language = name_of(engine.terms.lm) if case.use_lm and engine.terms.lm is not None else None
    engine.initialise(tried.plan, language)
    tried.init_seconds = time.perf_counter() - began
    began = time.perf_counter()
    tried.result = engine.generate(request, tell)
    tried.seconds = time.perf_counter() - began


def _request(work: Work, case: Case) -> Text2Music:
    said: dict[str, object] = {} if work.steps is None else {"inference_steps": work.steps}
    if case.use_lm:
        said |= {"thinking": True, "use_cot_caption": False, "use_cot_language": False, **SHEET}
    return Text2Music.model_validate(
        {
            "caption": work.caption,
            "lyrics": work.lyrics,
            "duration": work.duration,
            "seeds": tuple(range(SEED, SEED + case.songs)),
            "batch_size": case.songs,
            **said,
        }
    )


# --- checks --------------------------------------------------------------------------------


def _faults(work: Work, case: Case, tried: _Tried, heard: Sequence[Event]) -> list[str]:
    """Everything that is not as it should be, one sentence each."""
    engine, plan, result = tried.engine, tried.plan, tried.result
    assert engine is not None and plan is not None and result is not None
    row = published(engine.machine.limit / GIB)
    found = [*detected(row, _as_published(engine)), *planned(row, case.variant, DIT, plan)]
    found += _uninitialised(plan, case, row)
    found += [
        f"memory ran out in {event.stage}: {event.why}"
        for event in heard
        if isinstance(event, Replanned)
    ]
    found += _songs(work, case, engine, result)
    for stage in _stages(engine, plan, result):
        off = stage.measured != stage.planned if stage.exact else stage.measured > stage.planned
        if off and not engine.card.real:  # a real card's libraries take some of the reserve
            found.append(
                f"{stage.stage}: {stage.planned} bytes were planned and {stage.measured} measured"
            )
        if stage.measured > engine.machine.limit - CONTEXT:
            found.append(
                f"{stage.stage}: {gib(stage.measured)} and the driver's {gib(CONTEXT)} are more "
                f"than the card's {gib(engine.machine.limit)}"
            )
    return found


def _as_published(engine: TierEngine) -> Terms:
    """The plan the machine would get with default options."""
    return terms(engine.machine, "published", NO_CHOICES)


def _uninitialised(plan: Plan, case: Case, row: Published) -> Iterator[str]:
    """The models that a song needs and that were not loaded."""
    loaded = {placement.component for placement in plan.placements}
    wanted = {DIT, VAE_DECODER, TEXT_ENCODER}
    if case.use_lm and row.lms:
        wanted.add(LANGUAGE_MODEL)
    for name in sorted(wanted - loaded):
        yield f"the {name} was not initialised"


def _songs(work: Work, case: Case, engine: TierEngine, result: Result) -> Iterator[str]:
    """What is wrong with the songs: their number, pieces or length, or silence; a sentence each."""
    count, seconds = len(result.audios), in_force(work, case)
    if count != case.songs:
        yield f"{count} of {case.songs} songs were made"
    pieces = result.plan.stage(DENOISE).pieces
    if pieces != 1:
        yield f"the batch was denoised in {pieces} pieces"
    if case.use_lm and result.thought is None:
        yield "the language model did nothing"
    for number, audio in enumerate(result.audios, 1):
        samples = audio.samples
        if abs(samples.shape[-1] / audio.rate - seconds) > ROUNDED:
            length = round(seconds * audio.rate)
            yield f"song {number} has {samples.shape[-1]} samples, not {length}"
        if engine.card.real and not bool(torch.isfinite(samples).all()):
            yield f"song {number} holds what is no number"
        elif engine.card.real and not bool(samples.any()):
            yield f"song {number} is silent"


def in_force(work: Work, case: Case) -> float:
    """Seconds of the song to make: the requested length, inside the request's own limits and those
    published for the size; whole seconds where a language model writes it."""
    own = next(p.limit for p in describe(Text2Music) if p.name == "duration" and p.limit)
    most = min(own.maximum, published(work.vram).seconds[0 if case.use_lm else 1])
    seconds = min(max(work.duration, own.minimum), most)
    return float(round(seconds)) if case.use_lm else seconds


def _stages(engine: TierEngine, plan: Plan, result: Result) -> tuple[StageBytes, ...]:
    """The planned and measured bytes of every stage."""
    songs = cast("tuple[Song, ...]", result.songs)
    simulated = not engine.card.real
    known = simulated and engine.model.numerics().dtype == "bfloat16" and is_plain(songs)
    reports = [r for r in (result.thought, result.report) if r is not None]
    bounds = () if songs[0].sampling.steps > 1 else (DENOISE,)
    hosts = {stage.stage for stage in (*plan.stages, *result.plan.stages) if stage.host}
    return tuple(
        StageBytes(
            done.stage,
            done.planned_bytes,
            done.measured_bytes,
            known and done.stage in EXACT and done.stage not in bounds,
            done.seconds,
            done.stage in hosts,
        )
        for report in reports
        for done in report.stages
    )


def _told(
    work: Work, case: Case, card: Card, tried: _Tried, status: Status,
    faults: tuple[str, ...], wall: float,
) -> TierRow:  # fmt: skip
    """The row of a case, with what is known of it."""
    row = published(work.vram)
    promised = case.variant == "default"
    if case.variant == "batch":
        promised = case.songs <= row.songs[0 if case.use_lm else 1]
    said = TierRow(
        work.vram, row.name, case.name, case.use_lm, case.songs, in_force(work, case), status,
        faults, promised, card.name, not card.real, model=work.model, wall_seconds=wall,
    )  # fmt: skip
    engine, plan, result = tried.engine, tried.plan, tried.result
    if engine is None:
        return said
    found = engine.terms
    said = replace(
        said,
        tier=found.tier.name if found.tier is not None else "",
        weights="installed" if engine.installed else "random" if card.real else "none",
        lm=found.lm if case.use_lm else None,
        lm_backend=_as_published(engine).lm_backend if case.use_lm else None,
        lm_loop=found.lm_backend if case.use_lm else None,
        offload=_offload(found),
        quantization=None if found.quantization == "none" else found.quantization,
        init_seconds=tried.init_seconds,
    )
    if plan is not None:
        decode = plan.stage(DECODE)
        said = replace(
            said, compiled=engine.model.numerics().compiled,
            planned_peak=plan.peak, expected_seconds=plan.seconds, tile=decode.tile,
            leaves=decode.leaves, decoded_on_host=decode.host, pieces=plan.stage(DENOISE).pieces,
        )  # fmt: skip
    if plan is None or result is None:
        return said
    stages = _stages(engine, plan, result)
    return replace(
        said,
        songs=len(result.audios),
        pieces=result.plan.stage(DENOISE).pieces,
        frames=max(cast("Song", song).frames for song in result.songs),
        measured_peak=max(stage.measured for stage in stages),
        generation_seconds=tried.seconds,
        stages=stages,
        said=tuple(_beyond(stages)),
    )


def _beyond(stages: Sequence[StageBytes]) -> Iterator[str]:
    """The stages that exceeded their plan by more than the reserve."""
    for stage in stages:
        more = stage.measured - stage.planned
        if more > LEAST_RESERVE:
            yield f"{stage.stage} took {gib(more)} more than planned"


def _offload(found: Terms) -> str:
    if not found.offload:
        return "none"
    return "cpu+dit" if found.offload_dit else "cpu"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
