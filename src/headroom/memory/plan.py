"""A plan: where each part lives, and how each stage is cut. Frozen; `explain` says it in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from headroom.units import clock, gib


class Residency(Enum):
    """Where a component's weights are; the value ends the sentence "the dit …"."""

    RESIDENT = "stays on the device for the whole run"
    SWAPPED = "is on the device while a stage uses it"
    STREAMED = "passes through the device two blocks at a time"
    HOST = "stays in host memory, where it computes"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one component is, in which precision, and how many bytes it is."""

    component: str
    residency: Residency
    precision: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StagePlan:
    """How one stage is done.

    pieces   the work is cut into so many, one after another (1: whole)
    tile     size of a tile in the model's own unit, where the stage goes by tiles
    peak     bytes on the device at most, weights included
    seconds  expected, 0 where the model cannot say
    """

    stage: str
    uses: tuple[str, ...]
    pieces: int
    tile: int | None
    peak: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the parts live and how the stages are done, within a budget of so many bytes."""

    placements: tuple[Placement, ...]
    stages: tuple[StagePlan, ...]
    budget: int

    @property
    def peak(self) -> int:
        """The largest number of bytes any stage needs."""
        return max((s.peak for s in self.stages), default=0)

    @property
    def seconds(self) -> float:
        """Expected, all stages together."""
        return sum(s.seconds for s in self.stages)

    def stage(self, name: str) -> StagePlan:
        """The plan of one stage. Raises KeyError with the names there are."""
        for stage in self.stages:
            if stage.stage == name:
                return stage
        raise KeyError(f"no stage {name!r} in {[s.stage for s in self.stages]}")

    def placement(self, component: str) -> Placement:
        """The placement of one component. Raises KeyError with the names there are."""
        for placement in self.placements:
            if placement.component == component:
                return placement
        raise KeyError(f"no component {component!r} in {[p.component for p in self.placements]}")

    def explain(self) -> str:
        """The plan in words, a line for each part and each stage."""
        return "\n".join([*map(_where, self.placements), *map(_how, self.stages)])


@dataclass(frozen=True, slots=True)
class Cut:
    """A wish for one stage: these pieces and this tile, and nothing else."""

    stage: str
    pieces: int
    tile: int | None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What narrows a plan. None leaves a choice to the planner.

    residency  of every component
    cuts       of single stages: a replay pins them, because a tile decides rounding
    """

    residency: Residency | None = None
    cuts: tuple[Cut, ...] = ()

    def cut(self, stage: str) -> Cut | None:
        """The wish for one stage."""
        return next((cut for cut in self.cuts if cut.stage == stage), None)


NO_WISHES = Wishes()


def cuts(stages: Iterable[StagePlan]) -> tuple[Cut, ...]:
    """The wish that asks for exactly these cuts again."""
    return tuple(Cut(s.stage, s.pieces, s.tile) for s in stages)


def _where(placement: Placement) -> str:
    size = f" ({gib(placement.bytes)}, {placement.precision})"
    return f"{placement.component} {placement.residency.value}{size}."


def _how(stage: StagePlan) -> str:
    seconds = f", {clock(stage.seconds)}" if stage.seconds else ""
    pieces = f", in {stage.pieces} pieces" if stage.pieces > 1 else ""
    tile = f", in tiles of {stage.tile}" if stage.tile is not None else ""
    return f"{stage.stage}: {gib(stage.peak)}{seconds}{pieces}{tile}."
