"""Footprint and machine in, plan out.

The host keeps everything where it computes. On an accelerator all parts stay if they fit beside
the workspaces; else each is there only while a stage uses it. Work is cut where it must be.
"""

from __future__ import annotations

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Footprint, Stage
from headroom.memory.plan import NO_WISHES, Placement, Plan, Residency, StagePlan, Wishes

SLOWER_PER_PIECE = 0.03  # what a further cut costs, as a share of the whole stage


def plan(footprint: Footprint, machine: Machine, wishes: Wishes = NO_WISHES) -> Plan:
    """The fastest plan whose every stage stays within the machine's budget; of equals the simplest.

    Cuts that were wished for are taken where the stage offers them. Raises DoesNotFit with the
    smallest peak any plan reaches.
    """
    candidates = [_build(footprint, machine, wishes, how) for how in _choices(machine, wishes)]
    fitting = [p for p in candidates if p.peak <= p.budget]
    if not fitting:
        least = min(candidates, key=lambda p: p.peak)
        worst = max(least.stages, key=lambda s: s.peak)
        raise DoesNotFit(worst.peak, least.budget, f"the stage {worst.stage!r}")
    return min(fitting, key=lambda p: p.seconds)


def _choices(machine: Machine, wishes: Wishes) -> tuple[Residency, ...]:
    """The residencies to try, the preferred one first. Streaming is answered by swapping."""
    if not machine.accelerated:
        return (Residency.HOST,)
    if wishes.residency is Residency.RESIDENT:
        return (Residency.RESIDENT,)
    if wishes.residency is None:
        return (Residency.RESIDENT, Residency.SWAPPED)
    return (Residency.SWAPPED,)


def _build(footprint: Footprint, machine: Machine, wishes: Wishes, how: Residency) -> Plan:
    placements = tuple(Placement(c.name, how, c.precision, c.bytes) for c in footprint.components)
    everything = sum(c.bytes for c in footprint.components)
    stages, kept = [], 0
    for stage in footprint.stages:
        used = sum(c.bytes for c in footprint.used_by(stage))
        weights = used if how is Residency.SWAPPED else everything
        copied = used if how is Residency.SWAPPED else 0
        stages.append(_stage(stage, weights + kept, machine, wishes, copied))
        kept += stage.result
    return Plan(placements, tuple(stages), machine.budget)


def _stage(stage: Stage, held: int, machine: Machine, wishes: Wishes, copied: int) -> StagePlan:
    """The first cut that fits beside `held` bytes; the finest where none does."""
    offered = range(len(stage.workspace))
    index = next((i for i in offered if held + stage.workspace[i] <= machine.budget), offered[-1])
    wish = wishes.cut(stage.name)
    if wish is not None:
        index = next((i for i in offered if _cut(stage, i) == (wish.pieces, wish.tile)), index)
    pieces, tile = _cut(stage, index)
    copying = copied / machine.copy_rate if machine.copy_rate else 0.0
    seconds = stage.seconds * (1 + SLOWER_PER_PIECE * index) + copying
    return StagePlan(stage.name, stage.uses, pieces, tile, held + stage.workspace[index], seconds)


def _cut(stage: Stage, index: int) -> tuple[int, int | None]:
    """Pieces and tile of one entry of the stage's workspace."""
    return (1, stage.tiles[index]) if stage.tiles else (index + 1, None)
