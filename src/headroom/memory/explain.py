"""Explain a plan in tables: the owner of every byte, and what more or less memory would change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, TypeAlias

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Footprint
from headroom.memory.plan import NO_WISHES, Placement, Plan, Residency, StagePlan, Wishes
from headroom.memory.planner import plan
from headroom.units import GIB, MIB, clock, gib

STEPS = (MIB * 64, MIB * 256, MIB * 512, GIB, 2 * GIB, 4 * GIB, 8 * GIB, 16 * GIB)
NOTICED = 0.0005  # s: a smaller difference is not worth showing
WORTH = 1.1  # times as fast: the speed-up from which another plan is worth mentioning
UNTIMED = "time unknown"
NOTHING = "more memory would change nothing"
ALONE = "on one card alone"
Kind: TypeAlias = Literal["budget", "nothing", "one card"]
_WHERE = {
    Residency.RESIDENT: "stays",
    Residency.SWAPPED: "comes and goes",
    Residency.STREAMED: "passes through",
    Residency.HOST: "on the host",
}


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another plan, by its extra budget in bytes and extra seconds; negative: fewer.

    timed  whether it is known how long plans take here
    kind   what is changed: the budget; or, of a group, the number of cards, to one
    """

    bytes: int
    seconds: float
    what: str
    timed: bool = True
    kind: Kind = "budget"

    def sentence(self) -> str:
        """The alternative as one line for the user."""
        if self.kind == "nothing":
            return f"{NOTHING}."
        if self.kind == "one card":
            return f"{ALONE} it would take {_seconds(self.seconds)} more: {self.what}."
        side = "more" if self.bytes >= 0 else "less"
        much = f"with {gib(abs(self.bytes))} {side} it would take"
        if not self.timed:
            return f"with {gib(abs(self.bytes))} {side}: {self.what}."
        if abs(self.seconds) < NOTICED:
            return f"{much} as long: {self.what}."
        change = "less" if self.seconds < 0 else "more"
        return f"{much} {_seconds(abs(self.seconds))} {change}: {self.what}."


def alternatives(
    footprint: Footprint, machine: Machine, wishes: Wishes, current: Plan
) -> tuple[Alternative, ...]:
    """The nearest plans above and below, at least two if two exist.

    Above: the next two faster plans, with exactly the bytes they lack, or a line that there is
    none. Below: what the plan would become with less memory than it needs. Of a group of cards:
    what the fastest plan on one of them would be, where that is slower.
    """
    if machine.beside:
        return tuple(_alone(footprint, machine, wishes, current))
    above = list(islice(_above(footprint, machine, wishes, current), 2))
    below = list(islice(_below(footprint, machine, wishes, current), max(1, 2 - len(above))))
    if not above and current.seconds:
        above = [Alternative(0, 0.0, NOTHING, kind="nothing")]
    return (*above, *below)


def explain(current: Plan, others: Sequence[Alternative] = ()) -> str:
    """Parts, stages with the owner of every byte, and the alternatives."""
    width = max((len(p.component) for p in current.placements), default=0)
    lines = ["parts"]
    for p in current.placements:
        where = _place(p) + ("" if p.residency is Residency.HOST else current.at(p.card))
        lines.append(f"  {p.component:<{width}}  {gib(p.bytes):>9}  {p.precision:<8}  {where}")
    lines.append("stages")
    for stage in current.stages:
        where = "" if stage.host or not current.cards else f",{current.at(stage.card)}"
        lines.append(f"  {_stage(stage, is_timed(current))}{where}")
        lines += [f"    {gib(share.bytes):>9}  {share.owner}" for share in stage.shares]
    peaks = "; ".join(_peak(current.on(card), current.at(card)) for card in current.cards_used)
    lines.append(
        f"{peaks}; "
        f"{_seconds(current.seconds) if is_timed(current) else UNTIMED}; "
        f"{gib(current.copied)} copied to the device; {gib(current.host_peak)} of host memory"
    )
    return "\n".join([*lines, *(other.sentence() for other in others)])


def _peak(one: Plan, at: str) -> str:
    """The peak on one card."""
    left = gib(one.budget - one.peak)
    return f"peak{at} {gib(one.peak)} of {gib(one.budget)}, {left} to spare"


def _place(p: Placement) -> str:
    kept = f", {p.kept} blocks stay" if p.kept else ""
    return _WHERE[p.residency] + kept


def is_timed(current: Plan) -> bool:
    """Whether it is known how long a plan takes: the device's rates of computing and reading were
    measured or assumed."""
    return current.seconds > 0


def _stage(stage: StagePlan, timed: bool) -> str:
    words = [f"{stage.stage}: {gib(stage.peak)}", _seconds(stage.seconds) if timed else UNTIMED]
    if stage.pieces > 1:
        words.append(f"in {stage.pieces} pieces")
    if stage.tile is not None:
        words.append(f"in tiles of {stage.tile}")
    if stage.host:
        words.append("on the host")
    return ", ".join(words)


def _seconds(seconds: float) -> str:
    if seconds >= 1:
        return clock(seconds)
    return f"{seconds * 1000:.0f} ms" if seconds >= NOTICED else "under 1 ms"


def _with(machine: Machine, budget: int) -> Machine:
    """The machine with a budget of `budget` bytes; the reserve is added on top."""
    size = budget + (machine.limit - machine.budget) * 2 + GIB
    resized = replace(machine, total=size, free=size, cap=None)
    surplus = resized.budget - budget  # the reserve is a share of the size, so remove the excess
    while surplus:
        size -= surplus
        resized = replace(machine, total=max(size, 0), free=max(size, 0), cap=None)
        surplus = resized.budget - budget
    return resized


def _try(footprint: Footprint, machine: Machine, wishes: Wishes, budget: int) -> Plan | None:
    if budget < 0:
        return None
    try:
        return plan(footprint, _with(machine, budget), wishes)
    except DoesNotFit:
        return None


def _above(
    footprint: Footprint, machine: Machine, wishes: Wishes, current: Plan
) -> Iterator[Alternative]:
    now = current
    for step in STEPS:
        other = _try(footprint, machine, wishes, current.budget + step)
        if other is None or other.seconds >= now.seconds - NOTICED:
            continue
        # The plan may need less than was offered.
        other = _smallest(footprint, machine, wishes, other)
        lacks = max(1, other.peak - current.budget)
        yield Alternative(lacks, other.seconds - current.seconds, _changes(current, other))
        now = other


def _alone(
    footprint: Footprint, machine: Machine, wishes: Wishes, current: Plan
) -> Iterator[Alternative]:
    single = []
    for card in machine.cards:
        try:
            single.append(plan(footprint, card, wishes))
        except DoesNotFit:
            continue
    other = min(single, key=lambda one: one.seconds, default=None)
    if other is not None and other.seconds > current.seconds + NOTICED:
        more = other.seconds - current.seconds
        yield Alternative(0, more, _changes(current, other), kind="one card")


def _smallest(footprint: Footprint, machine: Machine, wishes: Wishes, current: Plan) -> Plan:
    """The plan with the smallest peak that is as fast."""
    while True:
        other = _try(footprint, machine, wishes, current.peak - 1)
        if other is None or other.seconds > current.seconds + 1e-9:
            return current
        current = other


def _below(
    footprint: Footprint, machine: Machine, wishes: Wishes, current: Plan
) -> Iterator[Alternative]:
    now = current
    for _ in range(3):
        # A plan that is as fast with less memory is not a different plan to the user.
        other = _try(
            footprint, machine, wishes, _smallest(footprint, machine, wishes, now).peak - 1
        )
        if other is None:
            return
        now = _smallest(footprint, machine, wishes, other)
        lacks = now.peak - current.budget
        more = now.seconds - current.seconds
        yield Alternative(lacks, more, _changes(current, now), timed=is_timed(current))


def _changes(before: Plan, after: Plan) -> str:
    """The differences between two plans, in words."""
    changes = []
    for old in before.placements:
        new = after.placement(old.component)
        if (old.residency, old.kept, old.precision) == (new.residency, new.kept, new.precision):
            continue
        words = _place(new)
        if old.precision != new.precision:
            words += f" in {new.precision}"
        changes.append(f"the {old.component} {words}")
    for stage in before.stages:
        now = after.stage(stage.stage)
        if (stage.pieces, stage.tile) != (now.pieces, now.tile):
            cut = f"tiles of {now.tile}" if now.tile is not None else f"{now.pieces} pieces"
            changes.append(f"{stage.stage} in {cut}")
        if stage.leaves != now.leaves:
            how = "leave as they are made" if now.leaves else "stay until it ends"
            changes.append(f"results of {stage.stage} {how}")
    return ", ".join(changes) or "the same plan"


def faster(current: Plan, other: Plan) -> str | None:
    """What another plan does better, in words; None if it is not clearly faster."""
    if other.seconds <= 0 or current.seconds < WORTH * other.seconds:
        return None
    times = current.seconds / other.seconds
    took = f"{_seconds(other.seconds)} instead of {_seconds(current.seconds)}"
    return f"{took}, {times:.1f}x faster: {_changes(current, other)}"


def say(footprint: Footprint, machine: Machine, wishes: Wishes = NO_WISHES) -> str:
    """The plan of a footprint on a machine, with its alternatives, as text."""
    current = plan(footprint, machine, wishes)
    return explain(current, alternatives(footprint, machine, wishes, current))
