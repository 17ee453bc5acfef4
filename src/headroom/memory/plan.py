"""Define a plan: where each part lives and how each stage is done. `explain` puts it in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from headroom.memory.footprint import Way
from headroom.units import clock, gib

SLOTS = 3  # in the ring for streamed blocks: one computing, one full, one filling


class Residency(Enum):
    """Where a component's weights are."""

    RESIDENT = "resident"
    SWAPPED = "swapped"
    STREAMED = "streamed"
    HOST = "host"

    @property
    def words(self) -> str:
        """The end of the sentence "the dit …"."""
        return _WORDS[self]


_WORDS = {
    Residency.RESIDENT: "stays on the device from run to run",
    Residency.SWAPPED: "is on the device while a stage uses it",
    Residency.STREAMED: "passes through the device block by block",
    Residency.HOST: "stays in host memory, where it computes",
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one component is, its precision, and its size in bytes.

    kept  for a streamed component: how many of its first blocks stay on the device during the
          whole stage, so that only the others are streamed
    card  the number of its card in the group, from 0
    """

    component: str
    residency: Residency
    precision: str
    bytes: int
    kept: int = 0
    card: int = 0


@dataclass(frozen=True, slots=True)
class CardShare:
    """A card of a group: its name, and bytes a plan may use there."""

    name: str
    budget: int


@dataclass(frozen=True, slots=True)
class Share:
    """Some bytes of a stage's peak, and whose they are."""

    owner: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StagePlan:
    """How one stage is done.

    pieces   number of pieces the work is cut into, one after another (1: whole)
    tile     size of a tile in the model's own unit, if the stage works in tiles
    peak     largest number of bytes on the device, weights included: the sum of `shares`
    seconds  expected, copying included; 0 if unknown
    leaves   results leave the device as they are made
    shares   the peak, by owner
    copied   bytes of weights that go to the device for it
    host     the stage computes on the host
    card     the number of its card in the group, from 0
    """

    stage: str
    uses: tuple[str, ...]
    pieces: int
    tile: int | None
    peak: int
    seconds: float
    leaves: bool = False
    shares: tuple[Share, ...] = ()
    copied: int = 0
    host: bool = False
    card: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the parts live and how the stages are done, within a budget in bytes.

    budget     of the first card, where there are several
    host_peak  bytes of host memory the plan takes, weights included
    cards      the cards of a group; empty: there is one card
    """

    placements: tuple[Placement, ...]
    stages: tuple[StagePlan, ...]
    budget: int
    host_peak: int = 0
    cards: tuple[CardShare, ...] = ()

    @property
    def peak(self) -> int:
        """The largest number of bytes any stage needs."""
        return max((s.peak for s in self.stages), default=0)

    @property
    def seconds(self) -> float:
        """Expected duration of all stages together."""
        return sum(s.seconds for s in self.stages)

    @property
    def copied(self) -> int:
        """Bytes of weights copied to the device in a run."""
        return sum(s.copied for s in self.stages)

    @property
    def cards_used(self) -> tuple[int, ...]:
        """The numbers of the cards that stages are done on, in order."""
        return tuple(sorted({s.card for s in self.stages})) or (0,)

    @property
    def card(self) -> int:
        """The number of the card of the first stage: of an act, all stages are there."""
        return next((stage.card for stage in self.stages), 0)

    def on(self, card: int) -> Plan:
        """What is done on one card of the group, and the parts there; its budget is the card's."""
        if not self.cards:
            return self
        return replace(
            self,
            placements=tuple(p for p in self.placements if p.card == card),
            stages=tuple(s for s in self.stages if s.card == card),
            budget=self.cards[card].budget,
        )

    @property
    def fullest(self) -> Plan:
        """What is done on the card that this fills to the largest share of its budget."""
        return max(map(self.on, self.cards_used), key=lambda one: one.peak / max(1, one.budget))

    def with_card(self, card: int, other: Plan) -> Plan:
        """The same with what another plan does on one card, and puts there."""
        if not self.cards:
            return other
        placed = {p.component: replace(p, card=card) for p in other.placements}
        stages = {s.stage: replace(s, card=card) for s in other.stages}
        return replace(
            self,
            placements=tuple(placed.get(p.component, p) for p in self.placements),
            stages=tuple(stages.get(s.stage, s) for s in self.stages),
        )

    def fits(self, budgets: Sequence[int]) -> bool:
        """Whether every stage keeps within the budget of its card, in bytes by number."""
        return all(stage.peak <= budgets[stage.card] for stage in self.stages)

    @property
    def residents(self) -> list[str]:
        """The components that stay on the device from run to run."""
        return [p.component for p in self.placements if p.residency is Residency.RESIDENT]

    def stage(self, name: str) -> StagePlan:
        """The plan of one stage. Raises KeyError that lists the known names."""
        for stage in self.stages:
            if stage.stage == name:
                return stage
        raise KeyError(f"no stage {name!r} in {[s.stage for s in self.stages]}")

    def placement(self, component: str) -> Placement:
        """The placement of one component. Raises KeyError that lists the known names."""
        for placement in self.placements:
            if placement.component == component:
                return placement
        raise KeyError(f"no component {component!r} in {[p.component for p in self.placements]}")

    def explain(self) -> str:
        """The plan in words, a line for each part and each stage."""
        lines = [_where(p, self.at(p.card)) for p in self.placements]
        return "\n".join([*lines, *(_how(s, self.at(s.card)) for s in self.stages)])

    def at(self, card: int) -> str:
        """The end of a sentence that names a card; empty where there is one."""
        return f" on card {card}" if self.cards else ""


@dataclass(frozen=True, slots=True)
class Cut:
    """A wish for one stage: exactly these pieces and this tile."""

    stage: str
    pieces: int
    tile: int | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is allowed for one component. An empty tuple leaves the choice to the planner."""

    component: str
    residencies: tuple[Residency, ...] = ()
    precisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wishes:
    """Constraints on a plan. None, or an empty field, leaves the choice to the planner.

    residency   for every component
    components  for single ones; takes precedence over `residency`
    precision   for every component that can be converted to it
    cuts        for single stages: a replay pins them, because a tile affects rounding
    whole       every batch in one piece
    """

    residency: Residency | None = None
    cuts: tuple[Cut, ...] = ()
    components: tuple[Wish, ...] = ()
    precision: str | None = None
    whole: bool = False

    def cut(self, stage: str) -> Cut | None:
        """The wish for one stage."""
        return next((cut for cut in self.cuts if cut.stage == stage), None)

    def wish(self, component: str) -> Wish | None:
        """The wish for one component."""
        return next((wish for wish in self.components if wish.component == component), None)


NO_WISHES = Wishes()


def cuts(stages: Iterable[StagePlan]) -> tuple[Cut, ...]:
    """The wishes that ask for exactly these cuts again."""
    return tuple(Cut(s.stage, s.pieces, s.tile) for s in stages)


def meets(way: Way, cut: Cut) -> bool:
    """Whether a way is cut as the wish asks."""
    return (way.pieces, way.tile) == (cut.pieces, cut.tile)


def _where(placement: Placement, at: str) -> str:
    kept = f", {placement.kept} blocks of it staying" if placement.kept else ""
    size = f" ({gib(placement.bytes)}, {placement.precision})"
    at = "" if placement.residency is Residency.HOST else at
    return f"{placement.component} {placement.residency.words}{at}{kept}{size}."


def _how(stage: StagePlan, at: str) -> str:
    seconds = f", {clock(stage.seconds)}" if stage.seconds else ""
    pieces = f", in {stage.pieces} pieces" if stage.pieces > 1 else ""
    tile = f", in tiles of {stage.tile}" if stage.tile is not None else ""
    where = ", on the host" if stage.host else at and f",{at}"
    return f"{stage.stage}: {gib(stage.peak)}{seconds}{pieces}{tile}{where}."
