"""Runs the tier test's cases for one card size through the engine, on a capped or simulated card.

Everything is real except the weights of models that are not installed: tier detection, the plan,
the pool, the run and the accounting of bytes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from headroom.engine.result import SongResult
from headroom.errors import DoesNotFit, HeadroomError, OutOfMemory
from headroom.hardware.machine import CONTEXT, LEAST_RESERVE
from headroom.memory.footprint import DECODE, DENOISE
from headroom.memory.plan import Plan
from headroom.memory.policy import Policy, resolve_policy
from headroom.memory.tiers import Tier
from headroom.models.family import Rehearsal
from headroom.models.registry import family_named
from headroom.params.describe import in_role, written_in_role
from headroom.params.request import Request
from headroom.profiler.options import SEED
from headroom.profiler.tiers.engine import Card, TierEngine, card_for
from headroom.profiler.tiers.rows import Case, StageBytes, Status, TierRow, Work
from headroom.profiler.tiers.table import detected, planned, published
from headroom.runtime.events import Event, Replanned
from headroom.settings import Options, Settings
from headroom.units import GIB, gib

ROUNDED = 0.1  # s: a length is rounded to a tenth of a second, and to whole frames


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
    return one.variant == other.variant and one.options == other.options


@dataclass(slots=True)
class _Attempt:
    """What is known of a case, however far it got."""

    engine: TierEngine | None = None
    plan: Plan | None = None
    result: SongResult | None = None
    init_seconds: float | None = None
    seconds: float | None = None


def _row(
    work: Work, case: Case, card: Card, settings: Settings, engine: TierEngine | None
) -> tuple[TierRow, TierEngine | None]:
    began = time.perf_counter()
    attempt, faults, events = _Attempt(engine), list[str](), list[Event]()
    status: Status = "failed"
    try:
        _try(work, case, card, settings, attempt, events.append)
        faults += _faults(work, case, attempt, events)
        status = "failed" if faults else "ok"
    except DoesNotFit as error:
        words = f"{error.what} needs {gib(error.least)}, the budget is {gib(error.budget)}"
        status, faults = "does not fit", [words]
    except (torch.OutOfMemoryError, OutOfMemory) as error:
        where = "while making the song" if attempt.init_seconds is not None else "while loading"
        faults = [f"out of memory {where}, though it was planned to fit: {_first_line(error)}"]
    except HeadroomError as error:
        faults = [f"{type(error).__name__}: {error}"]
    if status != "ok" and attempt.engine is not None and attempt.plan is not None:
        attempt.engine.offload()  # the next case starts with an empty card
        gc.collect()
    wall = time.perf_counter() - began
    row = _tier_row(work, case, card, attempt, status, tuple(faults), wall)
    return row, attempt.engine


def _try(
    work: Work, case: Case, card: Card, settings: Settings, attempt: _Attempt, tell: Any
) -> None:
    """Open, plan, load, make the songs; the findings are left in `attempt`."""
    began = time.perf_counter()
    if attempt.engine is None:
        attempt.engine = TierEngine(work, case, card, settings)
    engine, request = attempt.engine, _request(work, case)
    attempt.plan = engine.plan(request)
    engine.initialise(attempt.plan)
    attempt.init_seconds = time.perf_counter() - began
    began = time.perf_counter()
    attempt.result = engine.generate(request, tell)
    attempt.seconds = time.perf_counter() - began


def _request(work: Work, case: Case) -> Request:
    family = family_named(work.family)
    planning_fields = dict(family.rehearsal().planned) if case.use_lm else {}
    seeds = tuple(range(SEED, SEED + case.songs))
    request = family.usual_request.model_validate(
        {**work.fields, "seeds": seeds, **planning_fields}
    )
    return request.model_copy(
        update=written_in_role(request, seconds=work.duration, count=case.songs)
    )


# --- checks --------------------------------------------------------------------------------


def _faults(work: Work, case: Case, attempt: _Attempt, events: Sequence[Event]) -> list[str]:
    """Everything that is not as it should be, one sentence each."""
    engine, plan, result = attempt.engine, attempt.plan, attempt.result
    assert engine is not None and plan is not None and result is not None
    row, core = published(engine.machine.limit / GIB, work.family), engine.rehearsal.core
    faults = [*detected(row, _as_published(engine)), *planned(row, case.variant, core, plan)]
    faults += _uninitialised(engine.rehearsal, plan, case, row)
    faults += [
        f"memory ran out in {event.stage}: {event.why}"
        for event in events
        if isinstance(event, Replanned)
    ]
    faults += _songs(work, case, engine, result)
    for stage in _stages(engine, plan, result):
        over_plan = (
            stage.measured != stage.planned if stage.exact else stage.measured > stage.planned
        )
        if over_plan and not engine.place.real:  # a real card's libraries take some of the reserve
            faults.append(
                f"{stage.stage}: {stage.planned} bytes were planned and {stage.measured} measured"
            )
        if stage.measured > engine.machine.limit - CONTEXT:
            faults.append(
                f"{stage.stage}: {gib(stage.measured)} and the driver's {gib(CONTEXT)} are more "
                f"than the card's {gib(engine.machine.limit)}"
            )
    return faults


def _as_published(engine: TierEngine) -> Policy:
    """The plan the machine would get with default options."""
    return resolve_policy(engine.machine, "published", Options(), engine.policy.tiers)


def _uninitialised(rehearsal: Rehearsal, plan: Plan, case: Case, row: Tier) -> Iterator[str]:
    """The models that a song needs and that were not loaded."""
    loaded = {placement.component for placement in plan.placements}
    needed = set(rehearsal.needed)
    if case.use_lm and row.lms and not loaded & {rehearsal.lm_name(size) for size in row.lms}:
        needed.add("language model")
    for name in sorted(needed - loaded):
        yield f"the {name} was not initialised"


def _songs(work: Work, case: Case, engine: TierEngine, result: SongResult) -> Iterator[str]:
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
        if engine.place.real and not bool(torch.isfinite(samples).all()):
            yield f"song {number} holds what is no number"
        elif engine.place.real and not bool(samples.any()):
            yield f"song {number} is silent"


def in_force(work: Work, case: Case) -> float:
    """Seconds of the song to make: the requested length, inside the request's own limits and those
    published for the size; whole seconds where a language model writes it."""
    param = in_role(family_named(work.family).usual_request, "seconds")
    most: float = published(work.vram, work.family).seconds[0 if case.use_lm else 1]
    least = 0.0
    if param is not None and param.limit is not None:
        least, most = param.limit.minimum, min(param.limit.maximum, most)
    seconds = min(max(work.duration, least), most)
    return float(round(seconds)) if case.use_lm else seconds


def _stages(engine: TierEngine, plan: Plan, result: SongResult) -> tuple[StageBytes, ...]:
    """The planned and measured bytes of every stage."""
    songs, rehearsal = result.songs, engine.rehearsal
    simulated = not engine.place.real
    # For the released sizes in bfloat16 the plan states some stages exactly; for others it states
    # an upper bound, as it does for denoising in a single step, which keeps nothing between steps.
    may_be_exact = (
        simulated and engine.model.numerics().dtype == "bfloat16" and rehearsal.is_exact(songs)
    )
    reports = [r for r in (result.thought, result.report) if r is not None]
    steps_of = family_named(engine.family).steps_of
    bounds = (DENOISE,) if steps_of is not None and steps_of(songs[0]) == 1 else ()
    hosts = {stage.stage for stage in (*plan.stages, *result.plan.stages) if stage.host}
    return tuple(
        StageBytes(
            done.stage,
            done.planned_bytes,
            done.measured_bytes,
            may_be_exact and done.stage in rehearsal.exact and done.stage not in bounds,
            done.seconds,
            done.stage in hosts,
        )
        for report in reports
        for done in report.stages
    )


def _tier_row(
    work: Work, case: Case, card: Card, attempt: _Attempt, status: Status,
    faults: tuple[str, ...], wall: float,
) -> TierRow:  # fmt: skip
    """The row of a case, with what is known of it."""
    row = published(work.vram, work.family)
    promised = case.variant == "default"
    if case.variant == "batch":
        promised = case.songs <= row.batch[0 if case.use_lm else 1]
    tier_row = TierRow(
        work.vram, row.name, case.name, case.use_lm, case.songs, in_force(work, case), status,
        faults, promised, card.name, not card.real, model=work.model, wall_seconds=wall,
    )  # fmt: skip
    engine, plan, result = attempt.engine, attempt.plan, attempt.result
    if engine is None:
        return tier_row
    policy = engine.policy
    tier_row = replace(
        tier_row,
        tier=policy.tier.name if policy.tier is not None else "",
        weights="installed" if engine.installed else "random" if card.real else "none",
        lm=policy.lm if case.use_lm else None,
        lm_backend=_as_published(engine).lm_loop if case.use_lm else None,
        lm_loop=policy.lm_loop if case.use_lm else None,
        offload=_offload(policy),
        quantization=None if policy.quantization == "none" else policy.quantization,
        init_seconds=attempt.init_seconds,
    )
    if plan is not None:
        decode = plan.stage(DECODE)
        tier_row = replace(
            tier_row, compiled=engine.model.numerics().compiled,
            planned_peak=plan.peak, expected_seconds=plan.seconds, tile=decode.tile,
            leaves=decode.leaves, decoded_on_host=decode.host, pieces=plan.stage(DENOISE).pieces,
        )  # fmt: skip
    if plan is None or result is None:
        return tier_row
    stages = _stages(engine, plan, result)
    return replace(
        tier_row,
        songs=len(result.audios),
        pieces=result.plan.stage(DENOISE).pieces,
        frames=max(engine.rehearsal.frames(song) for song in result.songs),
        measured_peak=max(stage.measured for stage in stages),
        generation_seconds=attempt.seconds,
        stages=stages,
        said=tuple(_beyond(stages)),
    )


def _beyond(stages: Sequence[StageBytes]) -> Iterator[str]:
    """The stages that exceeded their plan by more than the reserve."""
    for stage in stages:
        excess = stage.measured - stage.planned
        if excess > LEAST_RESERVE:
            yield f"{stage.stage} took {gib(excess)} more than planned"


def _offload(policy: Policy) -> str:
    if not policy.offload:
        return "none"
    return "cpu+dit" if policy.offload_dit else "cpu"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
