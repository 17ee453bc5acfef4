"""Find the fastest plan for a footprint that fits into a machine's memory.

On a host everything stays where it computes. On a card each component stays from run to run, comes
for a stage, or is streamed block by block, and each stage is done whole or in pieces, such that
every stage stays within the budget and the total time is minimal. The answer is exact: see
`search`, which works over the ways of each stage in `options`. Time is that of one run among many:
resident weights have been copied before.

Of a group of cards, each act is done on one, and its parts are there; which one is found by
comparing all assignments of acts to cards, each card planned as if alone. Acts that share a part
stay together. What one act hands to the next passes through host memory wherever they run, so a
second card costs no time, and saves the copies of parts that would otherwise take turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Component, Footprint, Form, Stage, Way
from headroom.memory.options import Option, host_seconds, ways_of
from headroom.memory.plan import (
    NO_WISHES,
    SLOTS,
    CardShare,
    Placement,
    Plan,
    Residency,
    Share,
    StagePlan,
    Wish,
    Wishes,
)
from headroom.memory.search import Decision, Found, Search, forms_of
from headroom.units import gib

LIBRARIES, RESULTS = "libraries", "results kept"
SMALLER = ("a shorter song", "fewer songs at once")


def plan(footprint: Footprint, machine: Machine, wishes: Wishes = NO_WISHES) -> Plan:
    """The fastest plan with every stage within the machine's budget; among equals the simplest.

    The host of a card computes if a wish says so, if nothing else fits, or if that is faster.
    Wishes for cuts that a stage does not offer are ignored. Of a group of cards, as few are used as
    is no slower, and parts stay where the machine says that they are. Raises DoesNotFit with the
    smallest peak any plan reaches.
    """
    if not machine.accelerated:
        return _on_host(footprint, machine, wishes)
    if machine.beside and footprint.stages:
        return _on_cards(footprint, machine, wishes)
    found = Search(footprint, machine, wishes).best()
    if found is None:
        raise _refusal(footprint, machine, wishes)
    return _plan(footprint, machine, found)


def least_peak(footprint: Footprint, machine: Machine, wishes: Wishes = NO_WISHES) -> int:
    """Bytes of the smallest peak of any plan within the wishes, on a card without a limit.

    Of a group, on its first card. Raises DoesNotFit if the wishes contradict each other.
    """
    found = Search(footprint, machine, wishes).least()
    if found is None:
        raise _refusal(footprint, machine, wishes)
    return found[0]


def _on_cards(footprint: Footprint, machine: Machine, wishes: Wishes) -> Plan:
    """The plan on a group of cards: the best assignment of acts to cards, of all there are."""
    cards, acts = machine.cards, footprint.groups()
    found: dict[tuple[Machine, tuple[int, ...]], Found | None] = {}  # equal cards are planned once
    best: tuple[int, int, int, tuple[int, ...]] | None = None
    for where in product(range(len(cards)), repeat=len(acts)):
        cost = moved = 0
        given = _given(acts, where)
        for card, stages in given.items():
            key = replace(cards[card], name="", holds=()), stages
            part = footprint.only(stages)
            if key not in found:
                found[key] = Search(part, key[0], wishes).best()
            one = found[key]
            if one is None:
                break
            cost += one.cost
            elsewhere = {name for c in cards for name in c.holds} - {*cards[card].holds}
            moved += sum(c.bytes for c in part.components if c.name in elsewhere)
        else:
            now = cost, moved, len(given), where[::-1]  # the last act, the song, on the first card
            best = now if best is None else min(best, now)
    if best is None:
        raise _nearest_refusal(footprint, cards, wishes)
    plans = {
        card: plan(footprint.only(stages), cards[card], wishes)
        for card, stages in _given(acts, best[-1][::-1]).items()
    }
    return _together(footprint, machine, plans)


def _given(acts: Sequence[tuple[int, ...]], where: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """The stages of each card that has any, by an assignment of acts to cards."""
    given: dict[int, tuple[int, ...]] = {}
    for stages, card in zip(acts, where, strict=True):
        given[card] = tuple(sorted((*given.get(card, ()), *stages)))
    return given


def _together(footprint: Footprint, machine: Machine, plans: Mapping[int, Plan]) -> Plan:
    """The plans of single cards, by number, as one for the group."""
    placed = {p.component: replace(p, card=n) for n, one in plans.items() for p in one.placements}
    stages = {s.stage: replace(s, card=n) for n, one in plans.items() for s in one.stages}
    weights = [sum(p.bytes for p in one.placements) for one in plans.values()]
    beside = [one.host_peak - size for one, size in zip(plans.values(), weights, strict=True)]
    return Plan(
        tuple(placed[component.name] for component in footprint.components),
        tuple(stages[stage.name] for stage in footprint.stages),
        machine.budget,
        max(beside) + sum(weights),
        tuple(CardShare(card.name, card.budget) for card in machine.cards),
    )


def _nearest_refusal(footprint: Footprint, cards: Sequence[Machine], wishes: Wishes) -> DoesNotFit:
    """The error of the assignment of acts to cards that lacks least on any card."""
    acts = footprint.groups()
    least: tuple[int, int, tuple[int, ...]] | None = None
    for where in product(range(len(cards)), repeat=len(acts)):
        lacks = []
        for card, stages in _given(acts, where).items():
            found = Search(footprint.only(stages), cards[card], wishes).least()
            if found is None:
                return _refusal(footprint, cards[0], wishes)
            lacks.append((found[0] - cards[card].budget, card, stages))
        least = max(lacks) if least is None else min(least, max(lacks))
    assert least is not None
    return _refusal(footprint.only(least[2]), cards[least[1]], wishes)


def _plan(footprint: Footprint, machine: Machine, found: Found) -> Plan:
    """The search's result as a plan."""
    placed = {
        component.name: _placement(component, decision)
        for component, decision in zip(footprint.components, found.decisions, strict=True)
    }
    host = 0
    for stage, option in zip(footprint.stages, found.options, strict=True):
        for name, (form, how, kept) in zip(stage.uses, option.modes, strict=True):
            placed[name] = Placement(name, how, form.precision, form.bytes, kept)
        host = max(host, stage.host + (option.way.workspace if option.on_host else 0))
    residents = [p for p in placed.values() if p.residency is Residency.RESIDENT]
    stages = tuple(
        _stage(stage, option, residents, footprint.held_during(index), machine)
        for index, (stage, option) in enumerate(zip(footprint.stages, found.options, strict=True))
    )
    host += sum(placement.bytes for placement in placed.values())
    return Plan(tuple(placed.values()), stages, machine.budget, host)


def _placement(component: Component, decision: Decision) -> Placement:
    """The placement of a component that stays, or that no stage uses."""
    form, how, kept = decision.parts[0].mode
    return Placement(component.name, how, form.precision, form.bytes, kept)


def _stage(
    stage: Stage, option: Option, residents: Sequence[Placement], held: int, machine: Machine
) -> StagePlan:
    shares = [Share(p.component, p.bytes) for p in residents]
    for name, (form, how, kept) in zip(stage.uses, option.modes, strict=True):
        if how is Residency.SWAPPED:
            shares.append(Share(name, form.bytes))
        elif how is Residency.STREAMED:
            shares.append(Share(f"{name}, streamed", form.window(kept, SLOTS)))
    if not option.on_host:
        shares.append(Share(f"work of {stage.name}", option.way.workspace))
    shares += [Share(RESULTS, held), Share(LIBRARIES, machine.libraries)]
    return _planned(stage, option.way, shares, option.seconds, option.copied, option.on_host)


def _planned(
    stage: Stage, way: Way, shares: Sequence[Share], seconds: float, copied: int, host: bool
) -> StagePlan:
    owned = tuple(share for share in shares if share.bytes)
    return StagePlan(
        stage=stage.name,
        uses=stage.uses,
        pieces=way.pieces,
        tile=way.tile,
        peak=sum(share.bytes for share in owned),
        seconds=seconds,
        leaves=way.leaves,
        shares=owned,
        copied=copied,
        host=host,
    )


def _on_host(footprint: Footprint, machine: Machine, wishes: Wishes) -> Plan:
    """The plan with everything in host memory, each stage in the first way that fits there."""
    forms = {c.name: forms_of(c, wishes, machine)[0] for c in footprint.components}
    weights = [Share(name, form.bytes) for name, form in forms.items()]
    stages = tuple(
        _host_stage(footprint, index, forms, weights, machine, wishes)
        for index in range(len(footprint.stages))
    )
    worst = max(stages, key=lambda stage: stage.peak, default=None)
    if worst is not None and worst.peak > machine.budget:
        what = f"the stage {worst.stage!r}"
        raise DoesNotFit(worst.peak, machine.budget, what, " or ".join(SMALLER))
    placements = tuple(
        Placement(name, Residency.HOST, form.precision, form.bytes) for name, form in forms.items()
    )
    return Plan(placements, stages, machine.budget, 0 if worst is None else worst.peak)


def _host_stage(
    footprint: Footprint,
    index: int,
    forms: Mapping[str, Form],
    weights: Sequence[Share],
    machine: Machine,
    wishes: Wishes,
) -> StagePlan:
    """A stage in the first way that fits, or, if none does, in the one that needs least."""
    stage, held = footprint.stages[index], footprint.held_during(index)
    known = {c.name: c for c in footprint.components}
    used = [forms[name] for name in stage.uses]
    ways = [way for _, way in ways_of(stage, [known[n] for n in stage.uses], used, wishes)]
    if not ways:
        what = f"the stage {stage.name!r}, which cannot be done in these precisions,"
        raise DoesNotFit(machine.budget + 1, machine.budget, what)
    room = machine.budget - sum(share.bytes for share in weights) - held - machine.libraries
    least = min(ways, key=lambda way: way.workspace)
    way = next((way for way in ways if way.workspace <= room), least)
    shares = [
        *weights,
        Share(f"work of {stage.name}", way.workspace),
        Share(RESULTS, held),
        Share(LIBRARIES, machine.libraries),
    ]
    seconds = host_seconds(stage, used, way, machine) if machine.host_rate else 0.0
    return _planned(stage, way, shares, seconds, 0, host=True)


def _refusal(footprint: Footprint, machine: Machine, wishes: Wishes) -> DoesNotFit:
    """The error that says what is missing and what would help."""
    least = Search(footprint, machine, wishes).least()
    if least is None:
        return DoesNotFit(machine.budget + 1, machine.budget, "what was wished for")
    need, stage = least
    helps = []
    if wishes != NO_WISHES:
        free = Search(footprint, machine, NO_WISHES).least()
        if free is not None and free[0] < need:
            helps.append(
                f"leaving placement and precision to the plan ({gib(need - free[0])} less)"
            )
    helps += [*_coarser(footprint, machine, wishes, need), *SMALLER]
    return DoesNotFit(need, machine.budget, f"the stage {stage!r}", " or ".join(helps))


def _coarser(footprint: Footprint, machine: Machine, wishes: Wishes, need: int) -> Iterator[str]:
    """Opt-in precisions that would lower the smallest possible peak, as sentences."""
    for component in footprint.components:
        smallest = min(component.forms, key=lambda form: form.bytes)
        if smallest.precision == "fp8" and not machine.features.fp8:
            continue
        if smallest in forms_of(component, wishes, machine):
            continue
        old = wishes.wish(component.name) or Wish(component.name)
        asked = replace(old, precisions=(smallest.precision,))
        others = tuple(wish for wish in wishes.components if wish.component != component.name)
        least = Search(footprint, machine, replace(wishes, components=(*others, asked))).least()
        if least is not None and least[0] < need:
            less = gib(need - least[0])
            yield f"{smallest.precision} for the {component.name} ({less} less)"
