"""Explain a plan in tables: the owner of every byte, and what more or less memory would change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

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
    """

    bytes: int
    seconds: float
    what: str
    timed: bool = True

    def sentence(self) -> str:
        """The alternative as one line for the user."""
        if self.what == NOTHING:
            return f"{NOTHING}."
        side = "more" if self.bytes >= 0 else "less"
        much = f"with {gib(abs(self.bytes))} {side} it would take"
        if not self.timed:
            return f"with {gib(abs(self.bytes))} {side}: {self.what}."
        if abs(self.seconds) < NOTICED:
            return f"{much} as long: {self.what}."
        change = "less" if self.seconds < 0 else "more"
        return f"{much} {_seconds(abs(self.seconds))} {change}: {self.what}."


def alternatives(
    footprint: Footprint, machine: Machine, wishes: Wishes, found: Plan
) -> tuple[Alternative, ...]:
    """The nearest plans above and below, at least two if two exist.

    Above: the next two faster plans, with exactly the bytes they lack, or a line that there is
    none. Below: what the plan would become with less memory than it needs.
    """
    above = list(islice(_above(footprint, machine, wishes, found), 2))
    below = list(islice(_below(footprint, machine, wishes, found), max(1, 2 - len(above))))
    if not above and found.seconds:
        above = [Alternative(0, 0.0, NOTHING)]
    return (*above, *below)


def explain(found: Plan, others: Sequence[Alternative] = ()) -> str:
    """Parts, stages with the owner of every byte, and the alternatives."""
    width = max((len(p.component) for p in found.placements), default=0)
    lines = ["parts"]
    for p in found.placements:
        lines.append(f"  {p.component:<{width}}  {gib(p.bytes):>9}  {p.precision:<8}  {_place(p)}")
    lines.append("stages")
    for stage in found.stages:
        lines.append(f"  {_stage(stage, is_timed(found))}")
        lines += [f"    {gib(share.bytes):>9}  {share.owner}" for share in stage.shares]
    budget, left = gib(found.budget), gib(found.budget - found.peak)
    lines.append(
        f"peak {gib(found.peak)} of {budget}, {left} to spare; "
        f"{_seconds(found.seconds) if is_timed(found) else UNTIMED}; "
        f"{gib(found.copied)} copied to the device; {gib(found.host_peak)} of host memory"
    )
    return "\n".join([*lines, *(other.sentence() for other in others)])


def _place(p: Placement) -> str:
    kept = f", {p.kept} blocks stay" if p.kept else ""
    return _WHERE[p.residency] + kept


def is_timed(found: Plan) -> bool:
    """Whether it is known how long a plan takes: the device's rates of computing and reading were
    measured or assumed."""
    return found.seconds > 0


def _stage(stage: StagePlan, timed: bool) -> str:
    said = [f"{stage.stage}: {gib(stage.peak)}", _seconds(stage.seconds) if timed else UNTIMED]
    if stage.pieces > 1:
        said.append(f"in {stage.pieces} pieces")
    if stage.tile is not None:
        said.append(f"in tiles of {stage.tile}")
    if stage.host:
        said.append("on the host")
    return ", ".join(said)


def _seconds(seconds: float) -> str:
    if seconds >= 1:
        return clock(seconds)
    return f"{seconds * 1000:.0f} ms" if seconds >= NOTICED else "under 1 ms"


def _with(machine: Machine, budget: int) -> Machine:
    """The machine with a budget of `budget` bytes; the reserve is added on top."""
    size = budget + (machine.limit - machine.budget) * 2 + GIB
    wanted = replace(machine, total=size, free=size, cap=None)
    surplus = wanted.budget - budget  # the reserve is a share of the size, so remove the excess
    while surplus:
        size -= surplus
        wanted = replace(machine, total=max(size, 0), free=max(size, 0), cap=None)
        surplus = wanted.budget - budget
    return wanted


def _try(footprint: Footprint, machine: Machine, wishes: Wishes, budget: int) -> Plan | None:
    if budget < 0:
        return None
    try:
        return plan(footprint, _with(machine, budget), wishes)
    except DoesNotFit:
        return None


def _above(
    footprint: Footprint, machine: Machine, wishes: Wishes, found: Plan
) -> Iterator[Alternative]:
    now = found
    for step in STEPS:
        other = _try(footprint, machine, wishes, found.budget + step)
        if other is None or other.seconds >= now.seconds - NOTICED:
            continue
        # The plan may need less than was offered.
        other = _smallest(footprint, machine, wishes, other)
        lacks = max(1, other.peak - found.budget)
        yield Alternative(lacks, other.seconds - found.seconds, _changes(found, other))
        now = other


def _smallest(footprint: Footprint, machine: Machine, wishes: Wishes, found: Plan) -> Plan:
    """The plan with the smallest peak that is as fast."""
    while True:
        other = _try(footprint, machine, wishes, found.peak - 1)
        if other is None or other.seconds > found.seconds + 1e-9:
            return found
        found = other


def _below(
    footprint: Footprint, machine: Machine, wishes: Wishes, found: Plan
) -> Iterator[Alternative]:
    now = found
    for _ in range(3):
        # A plan that is as fast with less memory is not a different plan to the user.
        other = _try(
            footprint, machine, wishes, _smallest(footprint, machine, wishes, now).peak - 1
        )
        if other is None:
            return
        now = _smallest(footprint, machine, wishes, other)
        lacks = now.peak - found.budget
        more = now.seconds - found.seconds
        yield Alternative(lacks, more, _changes(found, now), timed=is_timed(found))


def _changes(before: Plan, after: Plan) -> str:
    """The differences between two plans, in words."""
    said = []
    for old in before.placements:
        new = after.placement(old.component)
        if (old.residency, old.kept, old.precision) == (new.residency, new.kept, new.precision):
            continue
        words = _place(new)
        if old.precision != new.precision:
            words += f" in {new.precision}"
        said.append(f"the {old.component} {words}")
    for stage in before.stages:
        now = after.stage(stage.stage)
        if (stage.pieces, stage.tile) != (now.pieces, now.tile):
            cut = f"tiles of {now.tile}" if now.tile is not None else f"{now.pieces} pieces"
            said.append(f"{stage.stage} in {cut}")
        if stage.leaves != now.leaves:
            how = "leave as they are made" if now.leaves else "stay until it ends"
            said.append(f"results of {stage.stage} {how}")
    return ", ".join(said) or "the same plan"


def faster(found: Plan, other: Plan) -> str | None:
    """What another plan does better, in words; None if it is not clearly faster."""
    if other.seconds <= 0 or found.seconds < WORTH * other.seconds:
        return None
    times = found.seconds / other.seconds
    took = f"{_seconds(other.seconds)} instead of {_seconds(found.seconds)}"
    return f"{took}, {times:.1f}x faster: {_changes(found, other)}"


def say(footprint: Footprint, machine: Machine, wishes: Wishes = NO_WISHES) -> str:
    """The plan of a footprint on a machine, with its alternatives, as text."""
    found = plan(footprint, machine, wishes)
    return explain(found, alternatives(footprint, machine, wishes, found))
