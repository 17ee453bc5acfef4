"""Search for the best plan on a card by branch and bound over what each component does.

A component stays on the device in one of its forms, or leaves between stages; one that several
stages use is placed the same way in all of them. In the room left by the components that stay,
every stage takes the best of its own options. A bound is the lowest cost of the stages while some
components are undecided: an undecided one takes room only in the stages that use it, so a bound
never exceeds the cost of any plan below it, and no plan is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from headroom.hardware.machine import Machine
from headroom.memory.footprint import Component, Footprint, Form, Way
from headroom.memory.options import (
    Frontier,
    Option,
    Part,
    Timed,
    compute_seconds,
    device_options,
    envelope,
    host_option,
    mode_cost,
    parts_of,
    placings,
    resident,
    ways_of,
)
from headroom.memory.plan import Residency, Wishes
from headroom.memory.precision import PRECISIONS

ANYWHERE = (Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED, Residency.HOST)
_OPEN = -1  # in place of a decision's number: not yet decided


class Decision(NamedTuple):
    """What one component does.

    parts  the modes it may have, for each stage to choose from
    size   bytes it takes in every stage
    cost   the part of its simplicity cost that no stage counts
    """

    parts: tuple[Part, ...]
    size: int
    cost: int


class Found(NamedTuple):
    """The best plan: what each component does, how each stage is done, and what that costs."""

    decisions: tuple[Decision, ...]
    options: tuple[Option, ...]
    cost: int


class Search:
    """One search over all plans for a footprint on a card."""

    def __init__(self, footprint: Footprint, machine: Machine, wishes: Wishes) -> None:
        self.stages, self.components = footprint.stages, footprint.components
        self.machine, self.wishes = machine, wishes
        self.room = machine.budget - machine.libraries
        self.held = [footprint.held_during(i) for i in range(len(self.stages))]
        places = {c.name: i for i, c in enumerate(self.components)}
        self.uses = [tuple(places[name] for name in stage.uses) for stage in self.stages]
        used = [index for uses in self.uses for index in uses]
        self.count = [used.count(index) for index in range(len(self.components))]
        self.offered = [self._decisions(i) for i in range(len(self.components))]
        self._made: dict[tuple[int, tuple[int, ...]], Frontier] = {}
        self._times: dict[tuple[int, tuple[str, ...]], list[Timed]] = {}

    def best(self) -> Found | None:
        """The plan with the lowest cost; None if none fits."""
        order = sorted(
            range(len(self.components)), key=lambda i: (-self.count[i], -self.components[i].bytes)
        )
        start = (_OPEN,) * len(order)
        bound = self._bound(start, 0, 0)
        if bound is None:
            return None
        best: tuple[int, tuple[int, ...]] | None = None
        # Per entry: bound, how many of `order` are decided, all numbers, decided bytes and cost.
        stack = [(bound, 0, start, 0, 0)]
        while stack:
            bound, depth, numbers, size, cost = stack.pop()
            if best is not None and bound >= best[0]:
                continue
            if depth == len(order):  # with nothing undecided, the bound is the cost
                best = bound, numbers
                continue
            index = order[depth]
            children = []
            for number, decision in enumerate(self.offered[index]):
                then = (*numbers[:index], number, *numbers[index + 1 :])
                after = size + decision.size, cost + decision.cost
                limit = self._bound(then, *after)
                if limit is not None:
                    children.append((limit, depth + 1, then, *after))
            children.sort(reverse=True)
            stack += children
        return None if best is None else self._found(*best)

    def least(self) -> tuple[int, str] | None:
        """Bytes of the smallest peak of any plan, whatever the budget, and the stage that has it.

        None if the wishes contradict each other.
        """
        largest: tuple[int, str] | None = None
        for numbers in product(*(self._smallest(i) for i in range(len(self.components)))):
            chosen = [self.offered[i][number] for i, number in enumerate(numbers)]
            always = sum(decision.size for decision in chosen) + self.machine.libraries
            worst = (0, "")
            for index, stage in enumerate(self.stages):
                least = self._least(index, [chosen[i] for i in self.uses[index]])
                if least is None:
                    break
                worst = max(worst, (always + self.held[index] + least, stage.name))
            else:
                largest = worst if largest is None else min(largest, worst)
        return largest

    # --- decisions ------------------------------------------------------------------------

    def _decisions(self, index: int) -> list[Decision]:
        component, shared = self.components[index], self.count[index] > 1
        allowed = _allowed(component, self.wishes)
        forms = forms_of(component, self.wishes, self.machine)
        away = [p for f in forms for p in parts_of(component, f, allowed, not shared)]
        decisions: list[Decision] = []
        if shared:
            decisions = [Decision((part,), 0, mode_cost(part.mode)) for part in away]
        elif away:
            decisions = [Decision(tuple(away), 0, 0)]
        if Residency.RESIDENT in allowed and (self.count[index] or not decisions):
            for form in forms:
                part = resident(form)
                decisions.append(Decision((part,), form.bytes, mode_cost(part.mode)))
        return decisions

    def _smallest(self, index: int) -> list[int]:
        """The decisions that can need least: to leave if allowed, and to keep no blocks."""
        offered = self.offered[index]
        leaving = [n for n, decision in enumerate(offered) if not decision.size]
        if self.count[index] <= 1:
            return leaving[:1] or list(range(len(offered)))
        return [n for n, decision in enumerate(offered) if not decision.parts[0].mode[2]]

    # --- cost of a stage ------------------------------------------------------------------

    def _bound(self, numbers: tuple[int, ...], size: int, cost: int) -> int | None:
        """The lowest cost of all stages together; None if one of them does not fit."""
        left = self.room - size
        for index, uses in enumerate(self.uses):
            frontier = self._frontier(index, tuple([numbers[i] for i in uses]))
            least = frontier.cost(left - self.held[index])
            if least is None:
                return None
            cost += least
        return cost

    def _frontier(self, index: int, numbers: tuple[int, ...]) -> Frontier:
        """The frontier of one stage, its components as decided by `numbers`, or open."""
        key = index, numbers
        frontier = self._made.get(key)
        if frontier is None:
            frontier = self._undecided(*key) if _OPEN in numbers else self._decided(*key)
            self._made[key] = frontier
        return frontier

    def _undecided(self, index: int, numbers: tuple[int, ...]) -> Frontier:
        at = numbers.index(_OPEN)
        who = self.uses[index][at]
        shared = self.count[who] > 1  # its cost would be counted by several stages
        points: list[tuple[int, int]] = []
        for number, decision in enumerate(self.offered[who]):
            frontier = self._frontier(index, (*numbers[:at], number, *numbers[at + 1 :]))
            size, cost = decision.size, 0 if shared else decision.cost
            points += [
                (a + size, b + cost) for a, b in zip(frontier.sizes, frontier.costs, strict=True)
            ]
        return envelope(points)

    def _decided(self, index: int, numbers: tuple[int, ...]) -> Frontier:
        decisions = [self.offered[i][n] for i, n in zip(self.uses[index], numbers, strict=True)]
        room = self.room - self.held[index] - sum(decision.size for decision in decisions)
        groups = (
            (placed, self._timed(index, forms))
            for forms, placed in placings([decision.parts for decision in decisions])
        )
        options = device_options(self.stages[index], groups, self.machine, room)
        hosted = self._hosted(index, decisions)
        if hosted is not None:
            # It needs no bytes, so it comes first, and only cheaper options are worth their bytes.
            options = [hosted, *(o for o in options if o.cost < hosted.cost)]
        return Frontier(
            tuple(o.bytes for o in options), tuple(o.cost for o in options), tuple(options)
        )

    def _hosted(self, index: int, decisions: Sequence[Decision]) -> Option | None:
        """The stage on the host, if everything it uses may be there."""
        on_host = [[p for p in d.parts if p.mode[1] is Residency.HOST] for d in decisions]
        options = []
        for parts in product(*on_host) if decisions else ():
            ways = self._ways(index, [part.mode[0] for part in parts])
            if ways:
                options.append(host_option(self.stages[index], parts, ways, self.machine))
        return min(options, key=lambda option: option.cost, default=None)

    def _least(self, index: int, decisions: Sequence[Decision]) -> int | None:
        """The fewest bytes a stage can be done with, without what stays on the device."""
        if self._hosted(index, decisions) is not None:
            return 0
        needs = [
            way.workspace + min(placing.held for placing in placed)
            for forms, placed in placings([decision.parts for decision in decisions])
            for _, way in self._ways(index, forms)
        ]
        return min(needs, default=None)

    def _ways(self, index: int, forms: Sequence[Form]) -> list[tuple[int, Way]]:
        components = [self.components[i] for i in self.uses[index]]
        return ways_of(self.stages[index], components, forms, self.wishes)

    def _timed(self, index: int, forms: Sequence[Form]) -> list[Timed]:
        key = index, tuple([form.precision for form in forms])
        timed = self._times.get(key)
        if timed is None:
            stage = self.stages[index]
            timed = self._times[key] = [
                Timed(place, way, 1e9 * compute_seconds(stage, forms, way, self.machine))
                for place, way in self._ways(index, forms)
            ]
        return timed

    def _found(self, cost: int, numbers: tuple[int, ...]) -> Found:
        decisions = tuple(self.offered[i][number] for i, number in enumerate(numbers))
        left = self.room - sum(decision.size for decision in decisions)
        options = tuple(
            self._frontier(i, tuple(numbers[j] for j in uses)).within(left - self.held[i])
            for i, uses in enumerate(self.uses)
        )
        return Found(decisions, options, cost)


def forms_of(component: Component, wishes: Wishes, machine: Machine) -> tuple[Form, ...]:
    """The forms a component may have: those wished for, else all that are not opt-in."""
    wish = wishes.wish(component.name)
    precisions = wish.precisions if wish is not None and wish.precisions else ()
    if not precisions and wishes.precision is not None:
        precisions = (wishes.precision,)
    allowed = tuple(f for f in component.forms if f.precision in precisions)
    if allowed:
        return allowed
    released = component.forms[0]
    if precisions or not machine.accelerated:
        return (released,)
    return tuple(f for f in component.forms if f is released or _offered(f, machine))


def _allowed(component: Component, wishes: Wishes) -> tuple[Residency, ...]:
    wish = wishes.wish(component.name)
    if wish is not None and wish.residencies:
        return wish.residencies
    return ANYWHERE if wishes.residency is None else (wishes.residency,)


def _offered(form: Form, machine: Machine) -> bool:
    precision = PRECISIONS.get(form.precision)
    if precision is None or precision.opt_in:
        return False
    return form.precision != "fp8" or machine.features.fp8
