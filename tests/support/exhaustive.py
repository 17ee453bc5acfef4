"""The best plan of small footprints, found by building every plan there is.

Written apart from the planner, from the words of `headroom.memory.footprint` and `plan` alone: what
the two agree on is not a mistake made twice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from headroom.hardware.machine import CONTEXT, LEAST_RESERVE, RESERVE, Machine
from headroom.memory.footprint import Component, Footprint, Form, Stage, Way
from headroom.memory.options import HOST_SLOWDOWN, HOST_START
from headroom.memory.plan import SLOTS, Residency
from headroom.units import GIB, MIB

R, SW, ST, H = Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED, Residency.HOST
COPY, MATRIX, HOST, MEMORY, HOST_MEMORY = 1e9, 1e12, 1e11, 4e9, 2e9  # a second


@dataclass(frozen=True)
class Best:
    """Seconds of the fastest plan that fits, None where none does; the smallest peak of any."""

    seconds: float | None
    least: int


def machine(budget: int, kind: str = "cuda", libraries: int = 0, reads: bool = False) -> Machine:
    """A machine with this budget (and at most 8 bytes more), whatever is held back."""
    usable = max(budget + LEAST_RESERVE, math.ceil(budget / (1 - RESERVE)))
    total = usable + (CONTEXT if kind != "cpu" else 0)
    found = Machine(
        "test", kind, total, total, GIB, GIB, copy_rate=COPY, matrix_rate=MATRIX, host_rate=HOST,
        memory_rate=MEMORY if reads else None, libraries=libraries,
        host_memory_rate=HOST_MEMORY if reads else None,
    )  # fmt: skip
    assert budget <= found.budget <= budget + 8
    return found


def coarse(rng: random.Random) -> tuple[Footprint, Machine]:
    """Three parts of few blocks, of which one may be used twice, and a card of few bytes."""
    parts = []
    for name in "abc":
        blocks = (rng.randrange(1, 9) * MIB,) * rng.choice((0, 2, 4, 5))
        half = Form("int8", tuple(b // 2 for b in blocks), MIB)
        others = (half,) if rng.random() < 0.5 else ()
        rest = rng.randrange(0, 6) * MIB
        streams = rng.random() < 0.9
        parts.append(Component(name, blocks, rest, "bfloat16", others, streams=streams))
    twice = ("c",) if rng.random() < 0.4 else ()
    stages = []
    for name, uses in (("one", ("a",)), ("two", ("b", "c")), ("three", twice)):
        room = sorted((rng.randrange(0, 40) for _ in range(rng.choice((1, 3)))), reverse=True)
        stages.append(
            Stage(
                name,
                uses,
                tuple(Way(r * MIB, pieces=n, more=0.03 * n) for n, r in enumerate(room, 1)),
                rng.choice((1, 8)),
                rng.choice((1e9, 3e10, 3e11)) * rng.random(),
                result=rng.choice((0, MIB)),
            )
        )
    libraries, reads = rng.choice((0, 2 * MIB)), rng.random() < 0.5
    where = machine(rng.randrange(2, 90) * MIB, libraries=libraries, reads=reads)
    return Footprint(tuple(parts), tuple(stages)), where


Place = tuple[Form, Residency, int]


def exhaustive(footprint: Footprint, where: Machine) -> Best:
    """Of every form and place of every part, and every way of every stage."""
    names = [c.name for c in footprint.components]
    done: dict[tuple[int, tuple[Place, ...]], list[tuple[int, float]]] = {}
    seconds, least = math.inf, 1 << 62
    for placed in product(*(list(_places(c)) for c in footprint.components)):
        stay = sum(form.bytes for form, how, _ in placed if how is R) + where.libraries
        total, peak, held = 0.0, 0, 0
        for index, stage in enumerate(footprint.stages):
            used = tuple(placed[names.index(name)] for name in stage.uses)
            key = index, used
            if key not in done:
                done[key] = list(_ways(stage, used, where))
            if not done[key]:
                peak = 1 << 62
                break
            peak = max(peak, stay + held + min(size for size, _ in done[key]))
            room = where.budget - stay - held
            total += min((time for size, time in done[key] if size <= room), default=math.inf)
            held += stage.result
        if peak < 1 << 62:
            least = min(least, peak)
            seconds = min(seconds, total)
    return Best(None if seconds == math.inf else seconds, least)


def exhaustive_on_cards(footprint: Footprint, cards: tuple[Machine, ...]) -> Best:
    """Of every card for every act, and every plan of what each card then does. `least`: bytes that
    lack on some card in the assignment that lacks least, where none fits."""
    ends = (*footprint.borders, len(footprint.stages))
    acts = [footprint.stages[a:b] for a, b in zip((0, *footprint.borders), ends, strict=True)]
    seconds, lacks = math.inf, 1 << 62
    for where in product(range(len(cards)), repeat=len(acts)):
        total, worst, at = 0.0, -(1 << 62), {}
        for act, number in zip(acts, where, strict=True):
            for stage in act:
                for name in stage.uses:
                    at.setdefault(name, set()).add(number)
        if any(len(numbers) > 1 for numbers in at.values()):
            continue  # a part is on one card
        for number in set(where):
            mine = [s for act, n in zip(acts, where, strict=True) if n == number for s in act]
            names = {name for stage in mine for name in stage.uses}
            parts = tuple(c for c in footprint.components if c.name in names)
            best = exhaustive(Footprint(parts, tuple(mine)), cards[number])
            total += math.inf if best.seconds is None else best.seconds
            worst = max(worst, best.least - cards[number].budget)
        seconds, lacks = min(seconds, total), min(lacks, worst)
    return Best(None if seconds == math.inf else seconds, lacks)


def _places(c: Component) -> Iterator[Place]:
    for form in c.forms:
        yield from ((form, how, 0) for how in (R, SW, H))
        if c.streams:
            yield from ((form, ST, kept) for kept in range(len(form.blocks)))


def _ways(stage: Stage, used: tuple[Place, ...], where: Machine) -> Iterator[tuple[int, float]]:
    """Bytes beside what stays, and seconds; nothing where host and device would be mixed."""
    hosted = [how is H for _, how, _ in used]
    if any(hosted):
        if all(hosted):
            slow = max(HOST_SLOWDOWN.get(form.precision, 1.0) for form, _, _ in used)
            way = stage.ways[0]
            seconds = stage.flops * (1 + way.more) * slow / HOST
            if where.host_memory_rate is not None:
                every = sum(form.bytes for form, _, _ in used) * stage.passes * way.pieces
                seconds = max(seconds, every / HOST_MEMORY)
            yield 0, HOST_START + seconds
        return
    size = first = through = 0
    read = written = 0.0
    for form, how, kept in used:
        if how is SW:
            size, first = size + form.bytes, first + form.bytes
        if how is ST:
            streamed = form.blocks[kept:]
            fixed = form.bytes - sum(streamed)
            size += fixed + min(SLOTS, len(streamed)) * max(streamed)
            first, through = first + fixed, through + sum(streamed)
        read += form.bytes
        written += 4 * form.bytes if form.precision == "int8" else 0
    for way in stage.ways:
        passes = stage.passes * way.pieces
        compute = stage.flops * (1 + way.more) / MATRIX
        if where.memory_rate is not None:
            compute = max(compute, read * passes / MEMORY) + written * passes / MEMORY
        yield size + way.workspace, first / COPY + max(compute, through * passes / COPY)
