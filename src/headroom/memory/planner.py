"""Footprint and machine in, the fastest plan out.

On a host everything stays where it computes. On a card each component stays from run to run, comes
for a stage, or passes through block by block; each stage is done whole or in pieces; all so that
every stage keeps within the budget and the whole takes the least time. The answer is exact: beside
each set of residents every stage takes the best of its ways (`options`), and all sets are tried.
Time is that of a run among many: what is resident has been copied before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Component, Footprint, Form, Stage, Way
from headroom.memory.options import (
    Frontier,
    Option,
    device_options,
    frontier,
    host_option,
    modes_of,
    ways_of,
)
from headroom.memory.plan import (
    NO_WISHES,
    SLOTS,
    Placement,
    Plan,
    Residency,
    Share,
    StagePlan,
    Wishes,
)
from headroom.memory.precision import PRECISIONS

ANYWHERE = (Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED)
LIBRARIES, RESULTS = "libraries", "results kept"


def plan(footprint: Footprint, machine: Machine, wishes: Wishes = NO_WISHES) -> Plan:
    """The fastest plan whose every stage stays within the machine's budget; of equals the simplest.

    The host computes where a wish says so, or where nothing else fits. Wishes for cuts that a stage
    does not offer are passed over. Raises DoesNotFit with the smallest peak any plan reaches.
    """
    if not machine.accelerated:
        return _on_host(footprint, machine, wishes)
    for host_too in (False, True):
        found = _Search(footprint, machine, wishes, host_too).best()
        if found is not None:
            return found
    raise _refusal(footprint, machine, wishes)


def least_peak(footprint: Footprint, machine: Machine, wishes: Wishes = NO_WISHES) -> int:
    """Bytes of the smallest peak of any plan within the wishes, on a card without a limit."""
    search = _Search(footprint, machine, wishes, host_too=True)
    return max((need for need, _ in search.least()), default=0)


@dataclass(frozen=True, slots=True)
class _Choice:
    """A component in one precision: where it may be."""

    component: Component
    form: Form
    allowed: tuple[Residency, ...]

    @property
    def may_stay(self) -> bool:
        return Residency.RESIDENT in self.allowed

    @property
    def must_stay(self) -> bool:
        return self.allowed == (Residency.RESIDENT,)


class _Search:
    """One look at all plans; `host_too` lets stages compute on the host."""

    def __init__(
        self, footprint: Footprint, machine: Machine, wishes: Wishes, host_too: bool
    ) -> None:
        self.footprint, self.machine, self.wishes = footprint, machine, wishes
        self.host_too = host_too
        self.room = machine.budget - machine.libraries
        self.held = [footprint.held_during(i) for i in range(len(footprint.stages))]
        uses = [name for stage in footprint.stages for name in stage.uses]
        self.shared = {name for name in uses if uses.count(name) > 1}
        self._made: dict[object, dict[frozenset[str], Frontier]] = {}

    def best(self) -> Plan | None:
        """The best plan; None where none fits."""
        winner: tuple[tuple[float, ...], tuple[_Choice, ...], frozenset[str], list[Option]] | None
        winner = None
        for choices in self._precisions():
            inexact = sum(not _exact(c.form) for c in choices)
            for shared in self._shared(choices):
                tables = self._tables(shared)
                for residents, size in self._residents(shared):
                    picked = self._pick(shared, tables, residents, size)
                    if picked is None:
                        continue
                    key = (*_total(picked), float(inexact))
                    # Seconds first, then unchanged weights, then what is simpler.
                    key = (key[0], key[-1], *key[1:-1])
                    if winner is None or key < winner[0]:
                        winner = key, shared, residents, picked
        if winner is None:
            return None
        return self._plan(winner[1], winner[2], winner[3])

    def least(self) -> Iterator[tuple[int, str]]:
        """For each stage the fewest bytes it can be done with, and its name."""
        best: dict[str, int] = {}
        for choices in self._precisions():
            for shared in self._shared(choices):
                tables = self._tables(shared)
                must = {c.component.name: c.form.bytes for c in shared if c.must_stay}
                for index, stage in enumerate(self.footprint.stages):
                    table = tables[index].get(frozenset(must) & set(stage.uses))
                    if table is None or table.least is None:
                        continue
                    need = table.least + sum(must.values()) + self.held[index]
                    need += self.machine.libraries
                    best[stage.name] = min(need, best.get(stage.name, need))
        for stage in self.footprint.stages:
            if stage.name in best:
                yield best[stage.name], stage.name

    # --- what there is to choose ----------------------------------------------------------

    def _precisions(self) -> Iterator[tuple[_Choice, ...]]:
        """Every component in each precision it may be in, its own first."""
        offered = []
        for component in self.footprint.components:
            forms = _forms(component, self.wishes, self.machine)
            offered.append([_Choice(component, f, self._allowed(component)) for f in forms])
        yield from product(*offered)

    def _allowed(self, component: Component) -> tuple[Residency, ...]:
        wish = self.wishes.wish(component.name)
        if wish is not None and wish.residencies:
            return wish.residencies
        if self.wishes.residency is not None:
            return (self.wishes.residency,)
        return (*ANYWHERE, Residency.HOST) if self.host_too else ANYWHERE

    def _shared(self, choices: tuple[_Choice, ...]) -> Iterator[tuple[_Choice, ...]]:
        """What several stages use is in one place in all of them: a choice for each place."""
        ways = [
            [_Choice(c.component, c.form, (how,)) for how in c.allowed]
            if c.component.name in self.shared
            else [c]
            for c in choices
        ]
        yield from product(*ways)

    def _tables(self, choices: Sequence[_Choice]) -> list[dict[frozenset[str], Frontier]]:
        """For each stage, by which of its components are resident, the options worth having."""
        known = {c.component.name: c for c in choices}
        tables: list[dict[frozenset[str], Frontier]] = []
        for stage in self.footprint.stages:
            used = [known[name] for name in stage.uses]
            asked = stage.name, tuple((c.form.precision, c.allowed) for c in used)
            if asked in self._made:
                tables.append(self._made[asked])
                continue
            ways = ways_of(stage, [c.form.precision for c in used], self.wishes)
            table: dict[frozenset[str], Frontier] = {}
            for staying in product(*([False, True] if c.may_stay else [False] for c in used)):
                names = frozenset(
                    c.component.name for c, stays in zip(used, staying, strict=True) if stays
                )
                table[names] = frontier(self._options(stage, used, staying, ways))
            self._made[asked] = table
            tables.append(table)
        return tables

    def _options(
        self,
        stage: Stage,
        used: Sequence[_Choice],
        staying: Sequence[bool],
        ways: Sequence[tuple[int, Way]],
    ) -> Iterator[Option]:
        parts = []
        for c, stays in zip(used, staying, strict=True):
            shared = c.component.name in self.shared
            modes = modes_of(c.component, c.form, c.allowed, shared)
            parts.append((c.form, ((Residency.RESIDENT, 0),) if stays else modes))
        yield from device_options(stage, parts, ways, self.machine)
        if used and not any(staying) and all(Residency.HOST in c.allowed for c in used):
            yield host_option(stage, [c.form for c in used], ways, self.machine)

    def _residents(self, choices: Sequence[_Choice]) -> Iterator[tuple[frozenset[str], int]]:
        """Every set of components that may stay and together leave room, with their bytes."""
        must = [c for c in choices if c.must_stay]
        may = sorted(
            (c for c in choices if c.may_stay and not c.must_stay), key=lambda c: -c.form.bytes
        )
        start = sum(c.form.bytes for c in must)
        if start > self.room:
            return
        stack = [(0, frozenset(c.component.name for c in must), start)]
        while stack:
            index, names, size = stack.pop()
            if index == len(may):
                yield names, size
                continue
            stack.append((index + 1, names, size))
            more = size + may[index].form.bytes
            if more <= self.room:
                stack.append((index + 1, names | {may[index].component.name}, more))

    def _pick(
        self,
        choices: Sequence[_Choice],
        tables: Sequence[Mapping[frozenset[str], Frontier]],
        residents: frozenset[str],
        size: int,
    ) -> list[Option] | None:
        """The best option of every stage beside these residents; None where one has no room."""
        picked = []
        for index, stage in enumerate(self.footprint.stages):
            table = tables[index].get(residents.intersection(stage.uses))
            option = None if table is None else table.within(self.room - size - self.held[index])
            if option is None:
                return None
            picked.append(option)
        return picked

    # --- the plan -------------------------------------------------------------------------

    def _plan(
        self, choices: Sequence[_Choice], residents: frozenset[str], picked: Sequence[Option]
    ) -> Plan:
        placed: dict[str, tuple[Residency, int]] = dict.fromkeys(residents, (Residency.RESIDENT, 0))
        for stage, option in zip(self.footprint.stages, picked, strict=True):
            placed.update(zip(stage.uses, option.modes, strict=True))
        forms = {c.component.name: c.form for c in choices}
        placements = tuple(
            Placement(name, how, form.precision, form.bytes, kept)
            for name, form in forms.items()
            for how, kept in [placed.get(name, (Residency.SWAPPED, 0))]
        )
        stages = tuple(self._stage(i, option, placements, forms) for i, option in enumerate(picked))
        workspaces = [
            stage.host + (option.way.workspace if _on_the_host(option) else 0)
            for stage, option in zip(self.footprint.stages, picked, strict=True)
        ]
        host = sum(form.bytes for form in forms.values()) + max(workspaces, default=0)
        return Plan(placements, stages, self.machine.budget, host)

    def _stage(
        self,
        index: int,
        option: Option,
        placements: Sequence[Placement],
        forms: Mapping[str, Form],
    ) -> StagePlan:
        stage, on_host = self.footprint.stages[index], _on_the_host(option)
        shares = [
            Share(p.component, p.bytes) for p in placements if p.residency is Residency.RESIDENT
        ]
        for name, (how, kept) in zip(stage.uses, option.modes, strict=True):
            if how is Residency.SWAPPED:
                shares.append(Share(name, forms[name].bytes))
            elif how is Residency.STREAMED:
                shares.append(Share(f"{name}, streamed", forms[name].window(kept, SLOTS)))
        if not on_host:
            shares.append(Share(f"work of {stage.name}", option.way.workspace))
        shares += [Share(RESULTS, self.held[index]), Share(LIBRARIES, self.machine.libraries)]
        shares = [share for share in shares if share.bytes]
        return StagePlan(
            stage=stage.name,
            uses=stage.uses,
            pieces=option.way.pieces,
            tile=option.way.tile,
            peak=sum(share.bytes for share in shares),
            seconds=option.seconds,
            leaves=option.way.leaves,
            shares=tuple(shares),
            copied=option.copied,
            host=on_host,
        )


def _on_the_host(option: Option) -> bool:
    return bool(option.modes) and all(how is Residency.HOST for how, _ in option.modes)


def _total(picked: Sequence[Option]) -> tuple[float, float, float, float]:
    seconds = round(sum(o.key[0] for o in picked), 8)
    return (
        seconds,
        sum(o.key[1] for o in picked),
        sum(o.key[2] for o in picked),
        sum(o.key[3] for o in picked),
    )


def _exact(form: Form) -> bool:
    precision = PRECISIONS.get(form.precision)
    return precision is None or precision.exact


def _forms(component: Component, wishes: Wishes, machine: Machine) -> tuple[Form, ...]:
    """The precisions a component may be in: those wished for, else all that nobody must ask for."""
    wish = wishes.wish(component.name)
    wanted = wish.precisions if wish is not None and wish.precisions else ()
    if not wanted and wishes.precision is not None:
        wanted = (wishes.precision,)
    found = tuple(f for f in component.forms if f.precision in wanted)
    if found:
        return found
    own = component.forms[0]
    if wanted or not machine.accelerated:
        return (own,)
    return tuple(f for f in component.forms if f is own or _offered(f, machine))


def _offered(form: Form, machine: Machine) -> bool:
    precision = PRECISIONS.get(form.precision)
    if precision is None or precision.opt_in:
        return False
    return form.precision != "fp8" or machine.features.fp8


def _on_host(footprint: Footprint, machine: Machine, wishes: Wishes) -> Plan:
    """Everything in host memory, each stage in the first way that has room there."""
    forms = {c.name: _forms(c, wishes, machine)[0] for c in footprint.components}
    weights = sum(form.bytes for form in forms.values())
    placements = tuple(
        Placement(name, Residency.HOST, form.precision, form.bytes) for name, form in forms.items()
    )
    stages = []
    for index, stage in enumerate(footprint.stages):
        used = [forms[name] for name in stage.uses]
        base = weights + footprint.held_during(index) + machine.libraries
        ways = ways_of(stage, [form.precision for form in used], wishes)
        fits = [pair for pair in ways if base + pair[1].workspace <= machine.budget]
        if not fits:
            fits = [min(ways, key=lambda pair: pair[1].workspace)]
        option = host_option(stage, used, fits, machine)
        shares = [Share(name, form.bytes) for name, form in forms.items()]
        shares += [
            Share(f"work of {stage.name}", option.way.workspace),
            Share(RESULTS, footprint.held_during(index)),
            Share(LIBRARIES, machine.libraries),
        ]
        shares = [share for share in shares if share.bytes]
        peak, seconds = sum(s.bytes for s in shares), option.seconds if machine.host_rate else 0.0
        stages.append(
            StagePlan(
                stage.name, stage.uses, option.way.pieces, option.way.tile, peak, seconds,
                option.way.leaves, tuple(shares), 0, host=True,
            )
        )  # fmt: skip
    found = Plan(
        placements, tuple(stages), machine.budget, max((s.peak for s in stages), default=0)
    )
    if found.peak > machine.budget:
        worst = max(found.stages, key=lambda s: s.peak)
        raise DoesNotFit(worst.peak, machine.budget, f"the stage {worst.stage!r}")
    return found


def _refusal(footprint: Footprint, machine: Machine, wishes: Wishes) -> DoesNotFit:
    """What is missing, and what would help."""
    needs = list(_Search(footprint, machine, wishes, host_too=True).least())
    if not needs:
        return DoesNotFit(machine.budget + 1, machine.budget, "what was wished for")
    need, stage = max(needs)
    helps = ["a shorter song", "fewer songs at once"]
    if wishes != NO_WISHES:
        free = max(_Search(footprint, machine, NO_WISHES, host_too=True).least())[0]
        if free < need:
            helps.insert(0, f"leaving placement and precision to the plan ({free - need:+,} bytes)")
    return DoesNotFit(need, machine.budget, f"the stage {stage!r}", " or ".join(helps))
