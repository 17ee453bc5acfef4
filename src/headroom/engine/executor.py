"""Plans an engine's work and executes it on its cards, and cleans up after interrupted calls.

Whatever an interrupted call left behind is cleaned up when it ends, and again before the next call
of any engine on the card. With a group of cards a call has the turn of all of them, and leases
memory where its stages run.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import TypeVar

import torch

from headroom.engine.policy import (
    ExecutionPlan,
    advice,
    choose_language_model,
    first_plan,
    same_precision,
)
from headroom.errors import DoesNotFit, EngineClosed, EngineInUse, OutOfMemory
from headroom.hardware.machine import Machine, group, with_reserve
from headroom.memory.footprint import Footprint
from headroom.memory.plan import Plan, Residency, Wishes
from headroom.memory.planner import plan as make_plan
from headroom.memory.policy import Policy
from headroom.models.base import Act, AnyModel
from headroom.runtime.card import Card, now_on
from headroom.runtime.events import ActName, Queued, Started, Stop, Tell, tell_nobody
from headroom.runtime.idle import IdleWatch
from headroom.runtime.pool import Pool
from headroom.runtime.pools import Pools
from headroom.runtime.recovery import Ladder
from headroom.runtime.run import Place, Run
from headroom.runtime.scope import Scope
from headroom.runtime.turn import Moved, ignored
from headroom.runtime.undo import Dropping, undone
from headroom.settings import Settings

WORTH_WAITING = 2.0  # times as long as the plan for the time after the work of other processes

R = TypeVar("R")
A = TypeVar("A", bound=Act[object])


@dataclass
class Executor:
    """Executes work with a model's components on a card, or on a group of cards, under the policy
    in force there.

    machine  as it was first found
    caps     bytes that each device may allocate while this engine works; None: no limit
    model    called when the first part is needed
    """

    cards: tuple[Card, ...]
    machine: Machine
    caps: tuple[int | None, ...]
    policy: Policy
    settings: Settings
    wishes: Wishes
    family: str
    model: Callable[[], AnyModel]
    closed: bool = False
    _calls: list[object] = field(default_factory=list)  # at work, or waiting for their turn
    _idle: tuple[IdleWatch, ...] = ()
    _at: dict[str, int] = field(default_factory=dict)  # the number of each part's card

    @property
    def card(self) -> Card:
        """The card, or the first of the group."""
        return self.cards[0]

    @cached_property
    def pools(self) -> Pools:
        """The pools of the model's parts, made on first access."""
        model = self.model()
        pools = Pools(self.cards, model.loaders(), (self.family, model.name))
        if self.settings.gpu_management:
            reference = weakref.ref(self)
            recover = lambda: None if (executor := reference()) is None else executor.look_after()  # noqa: E731
            seconds = self.settings.gpu_idle_timeout
            self._idle = tuple(IdleWatch(pool, seconds, recover) for pool in pools.each)
        return pools

    @property
    def pool(self) -> Pool:
        """The pool of the first card."""
        return self.pools.each[0]

    @property
    def has_pool(self) -> bool:
        """Whether the pools were made; before that nothing is loaded."""
        return "pools" in vars(self)

    def check_open(self) -> None:
        """Raise EngineClosed if the engine is closed."""
        if self.closed:
            raise EngineClosed

    def check(self) -> None:
        """Check that work may begin. Raises EngineClosed, and EngineInUse where this thread is
        already working on the card, or waiting for it."""
        self.check_open()
        if any(card.turn.is_mine() for card in self.cards):
            raise EngineInUse

    def close(self) -> None:
        """Release everything, and stop watching for idle parts. Work in progress is finished."""
        self.closed = True
        for watch in self._idle:
            watch.close()
        if self.has_pool:
            self.pools.release()

    def set_idle_timeout(self, seconds: float) -> None:
        """Offload idle parts after so many seconds. Raises InvalidRequest."""
        self.settings = self.settings.model_copy(update={"gpu_idle_timeout": seconds})
        for watch in self._idle:
            watch.change(seconds)

    def look_after(self) -> None:
        """Return leases left by calls that have ended. Does nothing while a call is running."""
        for card, pool in zip(self.cards, self.pools.each, strict=True):
            if not card.turn.locked():
                with card.turn:
                    pool.recover(self.settings.gpu_idle_timeout)

    def plan(self, footprint: Footprint, before: Footprint | None = None) -> ExecutionPlan:
        """Plan against what is free now. Precision follows the machine as it was first found.

        Work that comes `before` is planned together with it, so that a part used by both is placed
        where both can use it.
        """
        if before is not None:
            footprint = before.then(footprint)
        machine = self._holding(self.machine)
        plan, wishes, notes = first_plan(
            footprint, machine, self.policy, self.wishes, self.settings
        )
        now = now_on(self.cards, machine)
        if not plan.fits(_budgets(now)):
            wishes = replace(wishes, components=same_precision(plan, wishes))
            plan, now = self._beside(plan, footprint, now, wishes)
        faster = advice(plan, footprint, now, self.policy, self.wishes, self.settings)
        return ExecutionPlan(plan, Ladder(footprint, now, wishes), notes, faster, before)

    def plan_patiently(
        self, stop: Stop, footprint: Footprint, before: Footprint | None = None
    ) -> ExecutionPlan:
        """`plan`, which waits a while for memory that other programs hold. Raises Cancelled too."""
        planning: Callable[[], ExecutionPlan] = partial(self.plan, footprint, before)
        for card in self.cards:
            if card.sharing is not None:
                planning = partial(card.sharing.patiently, planning, stop)
        return planning()

    def _holding(self, machine: Machine) -> Machine:
        """The machine that says which parts are on each of several cards by the last plan, so that
        they stay there where another card is no better."""
        if not machine.beside:
            return machine
        at = self._at
        names = [
            tuple(sorted(n for n, on in at.items() if on == c)) for c in range(len(self.cards))
        ]
        each = zip(machine.cards, names, strict=True)
        return group([replace(card, holds=held) for card, held in each])

    def _beside(
        self, whole: Plan, footprint: Footprint, now: Machine, wishes: Wishes
    ) -> tuple[Plan, Machine]:
        """The plan beside what other processes are at work with, and the machine it is for; or the
        one for when they have ended, where that is the only one, or much faster."""
        later = now_on(self.cards, self._holding(self.machine), waiting=True)
        budgets = _budgets(later)
        if not whole.fits(budgets):
            whole = make_plan(footprint, later, wishes)
        if all(most <= budget for most, budget in zip(budgets, _budgets(now), strict=True)):
            return whole, later
        try:
            beside = make_plan(footprint, now, wishes)
        except DoesNotFit:
            return whole, later
        waits = beside.seconds > WORTH_WAITING * whole.seconds
        return (whole, later) if waits else (beside, now)

    def chosen(
        self, names: Sequence[str], build: Callable[[str], A], render: Footprint | None = None
    ) -> A:
        """The act to carry out, of those built for the named language models, before a rendering or
        alone. Like precision, the choice follows the machine as it was first found."""
        act = cache(build)
        name, _ = choose_language_model(
            names,
            lambda name: act(name).footprint,
            render,
            self.machine,
            self.policy,
            self.wishes,
            self.settings,
        )
        return act(name)

    def carry_out(
        self,
        act: ActName,
        plan: Plan,
        ladder: Ladder,
        tell: Tell,
        stop: Stop,
        work: Callable[[Run], R],
    ) -> tuple[R, Run]:
        """Do the work under the plan; return its result, and the run with its measurements.

        The stages of an act are on one card: that of the plan's first stage.
        """

        def carried_out() -> tuple[R, Run]:
            self._lease(plan, plan.card, stop, lambda position: tell(Queued(position)))
            tell(Started(act, plan))
            return work(run), run

        first, *beside = (
            Place(pool, card.device) for pool, card in zip(self.pools.each, self.cards, strict=True)
        )
        run = Run(plan, first.pool, first.device, tell, stop, ladder, beside)
        with Dropping():
            return undone(carried_out, self._give_back)

    def alone(self, stop: Stop, work: Callable[[], R], tell: Tell = tell_nobody) -> R:
        """Do work exclusively, with the requested number of threads.

        While other work comes first, `stop` is polled, and `tell` hears the position in the queue.
        Raises Cancelled, EngineClosed, EngineInUse.
        """
        self.check()

        def open_still() -> R:
            self.check_open()
            return undone(work, self._end)

        call = object()

        def waited_for() -> R:
            self._calls.append(call)
            turns = open_still
            pairs = zip(self.cards, self.caps, strict=True)
            for card, cap in sorted(pairs, key=lambda pair: -pair[0].number):
                turns = partial(
                    card.alone,
                    turns,
                    stop,
                    lambda position: tell(Queued(position)),
                    threads=self.settings.threads,
                    cap=cap,
                )
            return turns()

        return undone(waited_for, lambda: self._calls.remove(call) if call in self._calls else None)

    def bring(self, plan: Plan, card: int, stop: Stop) -> None:
        """Load every part that a plan has on one card, and move to it those that may stay there.

        Raises OutOfMemory, in which case nothing stays on the device; Cancelled, DoesNotFit.
        """
        pool = self._lease(plan, card, stop)
        plan, device = plan.on(card), self.cards[card].device
        residents = [p for p in plan.placements if p.residency is Residency.RESIDENT]
        others = [p for p in plan.placements if p.residency is not Residency.RESIDENT]
        placements = (*residents, *(replace(p, residency=Residency.HOST) for p in others))
        scope, owner = Scope(device), object()

        def undo() -> None:
            try:
                pool.end(owner)
            finally:
                scope.leave()

        def work() -> None:
            scope.enter()
            pool.make_room(plan.residents, spare=max(0, plan.budget - plan.peak))
            pool.lease(placements, owner)
            device.synchronize()

        ran_out = False
        try:
            undone(work, undo)
        except torch.OutOfMemoryError:
            ran_out = True  # not answered here: the error's frames keep the allocations alive
        if ran_out:
            pool.offload()
            pool.make_room(())
            raise OutOfMemory("prefetch", plan.peak, 0)

    def _lease(self, plan: Plan, number: int, stop: Stop, moved: Moved = ignored) -> Pool:
        """Reserve what a plan takes on one card, among the processes there; its pool, which then
        holds the parts that the plan puts there."""
        self._at.update({p.component: p.card for p in plan.placements})
        plan, card = plan.on(number), self.cards[number]
        pool = self.pools.holding((p.component for p in plan.placements), number)
        if card.sharing is not None:
            pool.make_room(plan.residents, spare=plan.budget)
            card.lease(pool, with_reserve(plan.peak), stop, moved)
        return pool

    def _end(self) -> None:
        """Release the parts that a call brought after the engine was closed."""
        if self.closed and self.has_pool:
            self.pools.release()

    def _give_back(self) -> None:
        """Give memory back: all of it if memory is managed and no other call of this engine is
        waiting, which would bring it again; else unused memory if requested."""
        if self.settings.gpu_management:
            if len(self._calls) <= 1:
                self.pools.offload()
        elif self.settings.offload:
            gc.collect()
            for card in self.cards:
                card.device.release()
                card.device.synchronize()


def _budgets(machine: Machine) -> tuple[int, ...]:
    """Bytes that a plan may use on each card."""
    return tuple(card.budget for card in machine.cards)
