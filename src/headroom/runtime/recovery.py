"""Recover from running out of memory: a ladder of tighter plans for the rest of a run.

Finished stages keep their outputs. The first rung only moves weights, so the output is identical to
the byte; the others also cut the work into smaller pieces, so it is the same within rounding. No
rung changes the precision of the weights: that would change the sound, so the user must allow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Footprint
from headroom.memory.plan import Plan, Residency, StagePlan, Wish, Wishes, cuts
from headroom.memory.planner import plan as make_plan
from headroom.reasons import Reason, reason

MOVING = (Residency.SWAPPED, Residency.STREAMED)


@dataclass(frozen=True, slots=True)
class Rung:
    """A tighter plan for the remaining stages.

    same_output  whether the result is the same to the byte
    why          what changes, in words for the user
    """

    plan: Plan
    same_output: bool
    why: Reason


@dataclass(frozen=True, slots=True)
class Ladder:
    """What tighter plans are made from: the inputs of the plan that failed."""

    footprint: Footprint
    machine: Machine
    wishes: Wishes

    def on(self, card: int, plan: Plan) -> Ladder:
        """That of what a plan for a group does on one of its cards."""
        if not plan.cards:
            return self
        there = {p.component for p in plan.placements if p.card == card}
        done = {s.stage for s in plan.stages if s.card == card}
        footprint = Footprint(
            tuple(c for c in self.footprint.components if c.name in there),
            tuple(s for s in self.footprint.stages if s.name in done),
        )
        return Ladder(footprint, self.machine.cards[card], self.wishes)

    def rungs(self, failed: Plan, done: Sequence[str]) -> tuple[Rung, ...]:
        """The available rungs, the smallest change first."""
        left = self.footprint.remaining(done)
        pinned = tuple(
            Wish(p.component, _looser(p.residency), (p.precision,)) for p in failed.placements
        )
        names = {stage.name for stage in left.stages}
        requested = tuple(cut for cut in cuts(failed.stages) if cut.stage in names)
        peak = max(stage.peak for stage in failed.stages if stage.stage in names)
        tries = (
            ("nothing_idle_stays", True, 1.0),
            ("less_weights_at_a_time", True, 0.85),
            ("cut_finer", False, 0.7),
            ("cut_much_finer", False, 0.4),
        )
        rungs: list[Rung] = []
        for code, same, share in tries:
            smaller = _with_budget(self.machine, min(self.machine.budget, int(peak * share)))
            wishes = replace(self.wishes, components=pinned, cuts=requested if same else ())
            try:
                plan = make_plan(left, smaller, wishes)
            except DoesNotFit:
                continue
            if same and cuts(plan.stages) != requested:
                continue
            rungs.append(Rung(_whole(failed, plan), same, reason(code)))
        return tuple(rungs)


def _looser(residency: Residency) -> tuple[Residency, ...]:
    """Where a part may move from here. A host rounds differently from a card, so HOST stays."""
    return (Residency.HOST,) if residency is Residency.HOST else MOVING


def _with_budget(machine: Machine, budget: int) -> Machine:
    held = machine.limit - machine.budget
    return replace(machine, free=min(machine.free, budget + held))


def _whole(before: Plan, left: Plan) -> Plan:
    """The plan of the remaining stages, preceded by the earlier stages as they were."""
    fresh = {stage.stage: stage for stage in left.stages}

    def now(stage: StagePlan) -> StagePlan:
        return fresh.get(stage.stage, stage)

    return replace(left, stages=tuple(now(stage) for stage in before.stages), budget=before.budget)
