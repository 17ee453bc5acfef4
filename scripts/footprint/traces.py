"""Traces: live bytes of every allocation of a stage, at the released sizes, over fake tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from headroom.device.simulated import SimulatedDevice
from headroom.hardware.machine import DType, card
from headroom.lm.sample import Sampling
from headroom.memory.footprint import WRITE
from headroom.memory.plan import Placement, Plan, Residency, StagePlan
from headroom.models.acestep.blueprint import Blueprint, language_model
from headroom.models.acestep.cost.lm_cost import (
    CODEBOOK,
    FRAME,
    TEXT_WORDS,
    Thinking,
    cache_of,
    component,
)
from headroom.models.acestep.cost.timestamps_cost import ALIGN
from headroom.models.acestep.language.lm_planning import write_codes
from headroom.models.acestep.networks.component_names import DIT, LANGUAGE_MODEL
from headroom.models.acestep.networks.encoders import DTYPES
from headroom.models.acestep.networks.released import released_lm
from headroom.models.acestep.requests.songs import AnyMusicRequest
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.lyric_tokens import Line, LyricTokens
from headroom.models.acestep.timestamps.timestamps import Timing, heads_of
from headroom.models.base import Setup
from headroom.runtime.events import Event, StageDone, StageStarted
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run
from headroom.units import GIB

ROOM = 4096 * GIB
MODELS = {
    ("2b", False): "acestep-v15-turbo",
    ("2b", True): "acestep-v15-base",
    ("xl", False): "acestep-v15-xl-turbo",
    ("xl", True): "acestep-v15-xl-base",
}


class Enough(Exception):
    """The stage that was wanted has ended."""


@dataclass(frozen=True, slots=True)
class Traced:
    """One stage: live bytes beyond its weights and what was held before, after each allocation;
    and what it left on the device."""

    live: tuple[int, ...]
    left: int

    @property
    def peak(self) -> int:
        return max(self.live)


@cache
def model(size: str, guided: bool, dtype: DType) -> tuple[Blueprint, SimulatedDevice, Pool]:
    device = SimulatedDevice(ROOM, fake=True)
    made = Blueprint(MODELS[size, guided], Setup(device, card(80), dtype=dtype))
    return made, device, Pool(device, made.loaders())


def songs(made: Blueprint, requests: Sequence[AnyMusicRequest], seeds: int) -> tuple[Song, ...]:
    """The songs of some requests, `seeds` of each."""
    found: list[Song] = []
    for request in requests:
        found += compose(request, made.variant, tuple(range(seeds))).songs
    return tuple(found)


def trace(
    made: Blueprint,
    device: SimulatedDevice,
    pool: Pool,
    batch: Sequence[Song],
    *,
    until: str,
    tile: int | None = None,
    pieces: int = 1,
    precision: str | None = None,
) -> dict[str, Traced]:
    """Every stage of rendering these songs, up to `until`, each alone with its weights."""
    needs = made.footprint(tuple(batch))
    forms = [
        c.form(precision) if precision is not None and c.others else c.forms[0]
        for c in needs.components
    ]
    placements = tuple(
        Placement(c.name, Residency.SWAPPED, f.precision, f.bytes)
        for c, f in zip(needs.components, forms, strict=True)
    )
    plan = Plan(
        placements,
        tuple(
            StagePlan(
                stage.name,
                stage.uses,
                pieces if stage.name == "denoise" else 1,
                (tile or stage.ways[0].tile) if stage.name == "decode" else stage.ways[0].tile,
                0,
                0.0,
                leaves=True,
            )
            for stage in needs.stages
        ),
        ROOM,
    )
    sizes = {p.component: p.bytes for p in placements}
    found: dict[str, Traced] = {}
    before = [0]

    def hear(event: Event) -> None:
        if isinstance(event, StageStarted):
            before[0] = device.memory_allocated()
            device.trace = []
        elif isinstance(event, StageDone) and device.trace is not None:
            weights = sum(sizes[name] for name in plan.stage(event.stage).uses)
            live = tuple(n - before[0] - weights for n in device.trace)
            device.trace = None
            found[event.stage] = Traced(live, device.memory_allocated() - before[0])
            if event.stage == until:
                raise Enough

    try:
        made.render(tuple(batch), Run(plan, pool, device, hear))
    except Enough:
        pass
    finally:
        device.trace = None
    return found


def trace_timing(
    made: Blueprint,
    device: SimulatedDevice,
    pool: Pool,
    frames: int,
    rows: int,
    precision: str | None = None,
) -> Traced:
    """A song of so many frames and condition rows, watched by the heads that follow its words."""
    channels, few = made.config.latent_channels, 4
    task = Timing(
        torch.zeros(frames, channels),
        torch.zeros(rows, made.config.encoder.width, dtype=DTYPES[made.dtype]),
        torch.zeros(frames, 2 * channels),
        LyricTokens((0, few), ("la",) * few, (Line("la", 0, few - 1),), 0),
        frames,
        0.125,
        heads_of(made.config),
    )
    needs = made.find_words(task).footprint
    forms = {
        c.name: c.form(precision) if precision is not None and c.others else c.forms[0]
        for c in needs.components
    }
    placements = tuple(
        Placement(name, Residency.SWAPPED, form.precision, form.bytes)
        for name, form in forms.items()
    )
    stages = tuple(StagePlan(s.name, s.uses, 1, None, 0, 0.0) for s in needs.stages)
    before, found = [0], list[Traced]()

    def hear(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == ALIGN:
            before[0] = device.memory_allocated()
            device.trace = []
        elif isinstance(event, StageDone) and event.stage == ALIGN:
            live = tuple(n - before[0] - forms[DIT].bytes for n in device.trace or ())
            found.append(Traced(live, device.memory_allocated() - before[0]))

    try:
        made.find_words(task).run(Run(Plan(placements, stages, ROOM), pool, device, hear))
    finally:
        device.trace = None
    return found[0]


@cache
def language_pool(size: str) -> tuple[SimulatedDevice, Pool]:
    device = SimulatedDevice(ROOM, fake=True)
    return device, Pool(device, {LANGUAGE_MODEL: lambda: language_model(size, "bfloat16")})


def trace_writing(
    size: str, prompt: int, songs: int, codes: int, guided: bool, precision: str
) -> Traced:
    """Codes written by a language model after prompts of so many tokens, beside its weights and
    its cache."""
    device, pool = language_pool(size)
    work = Thinking((prompt,) * songs, 0, codes, guided)
    config = released_lm(size)
    form = component(config, "bfloat16").form(precision)
    place = Placement(LANGUAGE_MODEL, Residency.SWAPPED, precision, form.bytes)
    stage = StagePlan(WRITE, (LANGUAGE_MODEL,), 1, None, 0, 0.0)
    run = Run(Plan((place,), (stage,), ROOM), pool, device)
    apart = device.memory_allocated() + form.bytes
    device.trace = []
    try:
        write_codes(
            [range(prompt)] * songs,
            range(FRAME) if guided else None,
            torch.zeros(songs, codes),
            slice(TEXT_WORDS, TEXT_WORDS + CODEBOOK),
            2.0 if guided else 1.0,
            Sampling(0.85, 0, 0.9, 1.0),
            run,
        )
        first = next(i for i, n in enumerate(device.trace) if n >= apart)
        live = [n - apart for n in device.trace[first:]]
    finally:
        device.trace = None
    # The cache is counted apart, and is there from its allocation on.
    cache = cache_of(work, config, "bfloat16")
    begins = next(i for i, n in enumerate(live) if n >= cache)
    return Traced(tuple(n - cache for n in live[begins:]), 0)
