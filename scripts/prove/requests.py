"""Of 10,000 random requests on seven cards none runs out of memory, holes included.

First the holes: whole requests of the real modules run over fake tensors under their plans, and
every allocation and release goes through models of torch's caching allocator, which say how much
more than its live bytes a card must have (`--works N`). Then each random request is planned on a
card of 4, 6, 8, 10, 12, 16 or 24 GB and replayed twice, stage by stage, in plain sums of what is on
the card, with holes drawn from those that were seen with segments that grow, which headroom asks
for. In some of the works and requests a language model writes codes first. With segments of fixed
sizes, as on Windows, holes are larger: how many replays would then go down the ladder of tighter
plans is counted and no fault. A refusal must be one that no plan avoids: its smallest peak, as the
planner finds it, is above the budget, and a card with that much is enough (`scripts/prove planner`
compares refusals with an exhaustive search). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from footprint.allocator import RELEASED, Fixed, Growing, needed

from headroom.device.simulated import SimulatedDevice
from headroom.errors import Cancelled, DoesNotFit
from headroom.hardware.machine import CONTEXT, Machine, card
from headroom.lm.sample import Sampling
from headroom.memory.footprint import Footprint
from headroom.memory.plan import SLOTS, Plan, Residency, Wishes
from headroom.memory.planner import plan
from headroom.memory.policy import PolicyName, resolve_policy
from headroom.models.acestep.blueprint import Blueprint, language_model
from headroom.models.acestep.cost.lm_cost import CODEBOOK, FRAME, TEXT_WORDS, Thinking, thinking
from headroom.models.acestep.cost.lm_cost import lm_footprint as thinking_footprint
from headroom.models.acestep.cost.unopened import footprint_of, songs_of, thinking_of
from headroom.models.acestep.language.lm_planning import write_codes
from headroom.models.acestep.networks.component_names import LANGUAGE_MODEL
from headroom.models.acestep.networks.released import released_lm
from headroom.models.acestep.requests.songs import AnyMusicRequest, Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.tiers import LM_SIZES, TIERS
from headroom.models.base import Setup
from headroom.params.clamp import clamp
from headroom.params.describe import written_in_role
from headroom.runtime.pool import Pool
from headroom.runtime.run import Run
from headroom.settings import Options
from headroom.units import GIB, MIB

SIZES = (4, 6, 8, 10, 12, 16, 24)
NAMES = tuple(VARIANTS)


class Recording(SimulatedDevice):
    """A simulated card that writes down which storage came, with how many bytes, and which went."""

    def __init__(self, total: int) -> None:
        super().__init__(total, fake=True)
        self.story: list[tuple[int, int]] = []

    def allocate(self, storage: torch.UntypedStorage) -> None:
        known = storage._cdata in self._live
        super().allocate(storage)
        if not known and storage.nbytes():
            self.story.append((storage._cdata, storage.nbytes()))

    def _died(self, key: int) -> None:
        self.story.append((key, 0))
        super()._died(key)

    def release(self) -> None:
        super().release()
        self.story.append((RELEASED, 0))


@dataclass(frozen=True, slots=True)
class Holes:
    """Of one work: bytes needed beyond the live ones, with segments that grow and with fixed ones,
    and the largest workspace of its stages.

    With segments that grow holes are as many bytes in small works as in large ones (0.8 % of a
    workspace of 10 GiB, 10 % of one of 1 GiB), so they are drawn as bytes.
    """

    what: str
    growing: int
    fixed: int
    room: int
    fits: bool


def holes(rng: random.Random) -> Holes:
    """A random work run through. Raises DoesNotFit."""
    size, seconds = rng.choice(SIZES), rng.choice((20, 60, 180, 240, 600))
    name = rng.choice(("acestep-v15-turbo", "acestep-v15-base", "acestep-v15-xl-turbo"))
    policy: PolicyName = rng.choice(("published", "adaptive"))
    machine = card(size)
    device = Recording(size * GIB)
    model = Blueprint(name, Setup(device, machine))
    asked = Text2Music(
        caption="slow " * rng.randint(1, 40), lyrics="la la\n" * rng.randint(0, 120),
        duration=seconds, inference_steps=2, batch_size=rng.choice((1, 1, 2, 4, 8)),
    )  # fmt: skip
    songs = compose(asked, model.variant, tuple(range(asked.songs))).songs
    needs, found = model.footprint(songs), resolve_policy(machine, policy, Options(), TIERS)
    work = thinking(asked.caption, songs[0].lyrics, seconds, len(songs), True, metadata=False)
    lm = found.lms[-1] if found.init_lm and rng.random() < 0.5 else None
    loaders = dict(model.loaders())
    if lm is not None:
        needs = thinking_footprint(work, released_lm(lm), "bfloat16").then(needs)
        loaders[LANGUAGE_MODEL] = lambda: language_model(lm, "bfloat16")
    made = plan(needs, machine, found.wishes(needs))
    pool = Pool(device, loaders)
    for _ in range(2):
        if lm is not None:
            think(work, made, pool, device)
        model.render(songs, Run(made, pool, device))
    pool.release()
    live, peak = 0, 0
    alive: dict[int, int] = {}
    for key, count in device.story:
        live += count - alive.pop(key, 0)
        if count:
            alive[key] = count
        peak = max(peak, live)
    what = f"{size} GB, {name}, LM {lm}, {asked.songs} x {seconds} s, {policy}"
    grown, fixed = (needed(kind, device.story, peak) for kind in (Growing, Fixed))
    room = max(
        done.peak - sum(s.bytes for s in done.shares if s.owner in loaders) for done in made.stages
    )
    return Holes(what, grown - peak, fixed - peak, room, grown <= size * GIB - CONTEXT)


def think(work: Thinking, made: Plan, pool: Pool, device: SimulatedDevice) -> None:
    """The first codes of the songs, in a cache for all of them."""
    asked = iter(range(3))
    run = Run(made, pool, device, stop=lambda: next(asked, None) is None)
    with suppress(Cancelled):
        write_codes(
            [range(count) for count in work.prompts],
            range(FRAME),
            torch.zeros(len(work.prompts), work.codes),
            slice(TEXT_WORDS, TEXT_WORDS + CODEBOOK),
            2.0,
            Sampling(0.85, 0, 0.9, 1.0),
            run,
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One random request on one card."""

    machine: Machine
    needs: Footprint
    wishes: Wishes
    what: str


def drawn(rng: random.Random) -> Case:
    """Any variant, length, batch, words, policy and quantisation; some of the card taken."""
    size, name = rng.choice(SIZES), rng.choice(NAMES)
    variant = VARIANTS[name]
    policy: PolicyName = rng.choice(("published", "adaptive"))
    quantization = rng.choice((None, None, None, "none", "int8", "int4", "w8a8"))
    offload = rng.choice((None, None, True, False))
    machine = card(size)
    if rng.random() < 0.3:  # others hold some of it
        machine = replace(machine, free=int(machine.total * rng.uniform(0.6, 1)))
    found = resolve_policy(
        machine, policy, Options(offload=offload, quantization=quantization), TIERS
    )
    request: AnyMusicRequest = Text2Music(
        caption="x" * rng.randint(1, 500), lyrics="la " * rng.randint(0, 1300),
        duration=round(rng.uniform(10, 600), 1), batch_size=rng.randint(1, 8),
        inference_steps=rng.randint(1, 8 if variant.kind == "turbo" else 60),
    )  # fmt: skip
    tighter = found.limits(rng.random() < 0.5)
    request, _ = clamp(request, {**variant.limits, **written_in_role(request, **tighter)})
    songs = songs_of(request, variant)
    needs, lm = footprint_of(songs, variant), None
    if rng.random() < 0.4:
        lm = rng.choice(found.lms) if found.init_lm else LM_SIZES[0]
        needs = thinking_of(request, songs, lm).then(needs)
    what = (
        f"{size} GB, {name}, LM {lm}, {policy}, {quantization}, offload {offload}, {request!r:.200}"
    )
    return Case(machine, needs, found.wishes(needs), what)


def replayed(case: Case, made: Plan, lost: int) -> str | None:
    """What goes wrong where this plan is carried out, twice, with so many bytes of holes."""
    room = min(case.machine.total - CONTEXT, case.machine.free)
    here: dict[str, int] = {}  # what stays from run to run, once it has come
    stages = {stage.name: stage for stage in case.needs.stages}
    for _ in range(2):
        kept: list[tuple[int, str | None]] = []
        names = list(stages)
        for done in made.stages:
            stage = stages[done.stage]
            at = names.index(stage.name)
            work = sum(size for size, until in kept if until is None or names.index(until) >= at)
            forms, now = [], 0
            for name in stage.uses:
                place = made.placement(name)
                part = next(c for c in case.needs.components if c.name == name)
                form = part.form(place.precision)
                forms.append(form.precision)
                if place.residency is Residency.RESIDENT:
                    here[name] = form.bytes
                elif place.residency is Residency.SWAPPED:
                    now += form.bytes
                elif place.residency is Residency.STREAMED:
                    through = form.blocks[place.kept :]
                    now += form.bytes - sum(through)
                    now += max(through, default=0) * min(SLOTS, len(through))
            if not done.host:
                work += min(
                    way.workspace
                    for way in stage.ways
                    if (way.pieces, way.tile, way.leaves) == (done.pieces, done.tile, done.leaves)
                    and (way.precision is None or way.precision in forms)
                )
                if any(made.placement(n).residency is Residency.HOST for n in stage.uses):
                    return f"{stage.name}: a part is on the host, and the stage is not"
            total = now + sum(here.values()) + work + lost
            if total > room:
                return f"{stage.name}: {total} bytes with {lost} of holes, of {room}"
            kept.append((0 if done.host else stage.result, stage.until))
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--works", type=int, default=24, help="run through the allocator's model")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    faults, seen = 0, []
    while len(seen) < args.works:
        try:
            found = holes(rng)
        except DoesNotFit:
            continue
        seen.append(found)
        faults += not found.fits
        said = "" if found.fits else ", TOO MUCH"
        megabytes = (f"{n / MIB:.0f}" for n in (found.growing, found.fixed, found.room))
        print("{}: {} MiB of holes{}, {} in fixed segments, {} beside weights".format(
            found.what, next(megabytes), said, *megabytes), flush=True)  # fmt: skip
    growing, fixed = [one.growing for one in seen], [one.fixed for one in seen]
    planned = refused = laddered = 0
    began = time.perf_counter()
    for _ in range(args.requests):
        case = drawn(rng)
        try:
            made = plan(case.needs, case.machine, case.wishes)
        except DoesNotFit as refusal:
            refused += 1
            wrong = _unfounded(case, refusal)
        else:
            planned += 1
            wrong = replayed(case, made, rng.choice(growing))
            laddered += replayed(case, made, rng.choice(fixed)) is not None
        if wrong is not None:
            faults += 1
            print(f"{case.what}: {wrong}")
    print(
        json.dumps(
            {"works": len(seen), "holes_most_mib": max(one.growing for one in seen) // MIB,
             "holes_most_fixed_mib": max(one.fixed for one in seen) // MIB,
             "requests": args.requests,
             "planned": planned, "refused": refused, "faults": faults,
             "beyond_with_fixed_segments": laddered,
             "seconds": round(time.perf_counter() - began, 1)}
        )
    )  # fmt: skip
    return 1 if faults else 0


def _unfounded(case: Case, refusal: DoesNotFit) -> str | None:
    """What is wrong with a refusal: it fitted, or what is said to be enough is not."""
    if refusal.least <= case.machine.budget:
        return f"refused, and {refusal.least} bytes are within {case.machine.budget}"
    held = case.machine.limit - case.machine.budget
    more = case.machine.total + refusal.least + held
    try:
        plan(case.needs, replace(case.machine, total=more, free=more), case.wishes)
    except DoesNotFit as again:
        return f"refused with {refusal.least}, and with {again.least} on a card that has it"
    return None


if __name__ == "__main__":
    sys.exit(main())
