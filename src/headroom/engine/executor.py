"""Plans an engine's work and executes it on a card, and cleans up after interrupted calls.

Whatever an interrupted call left behind is cleaned up when it ends, and again before the next call
of any engine on the card.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
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
from headroom.hardware.machine import Machine, with_reserve
from headroom.memory.footprint import Footprint
from headroom.memory.plan import Plan, Residency, Wishes
from headroom.memory.planner import plan as make_plan
from headroom.memory.policy import Policy
from headroom.models.base import Act, AnyModel
from headroom.runtime.card import Card
from headroom.runtime.events import ActName, Queued, Started, Stop, Tell, tell_nobody
from headroom.runtime.idle import IdleWatch
from headroom.runtime.pool import Pool
from headroom.runtime.recovery import Ladder
from headroom.runtime.run import Run
from headroom.runtime.scope import Scope
from headroom.runtime.turn import Moved, ignored
from headroom.runtime.undo import Dropping, undone
from headroom.settings import Settings

WORTH_WAITING = 2.0  # times as long as the plan for the time after the work of other processes

R = TypeVar("R")
A = TypeVar("A", bound=Act[object])


@dataclass
class Executor:
    """Executes work with a model's components on one card, under the policy in force there.

    machine  as it was first found
    cap      bytes that the device may allocate while this engine works; None: no limit
    model    called when the first part is needed
    """

    card: Card
    machine: Machine
    cap: int | None
    policy: Policy
    settings: Settings
    wishes: Wishes
    family: str
    model: Callable[[], AnyModel]
    closed: bool = False
    _calls: list[object] = field(default_factory=list)  # at work, or waiting for their turn
    _idle: IdleWatch | None = None

    @cached_property
    def pool(self) -> Pool:
        """The pool of the model's parts, made on first access."""
        model = self.model()
        pool = Pool(self.card, model.loaders(), owner=(self.family, model.name))
        if self.settings.gpu_management:
            reference = weakref.ref(self)
            recover = lambda: None if (executor := reference()) is None else executor.look_after()  # noqa: E731
            self._idle = IdleWatch(pool, self.settings.gpu_idle_timeout, recover)
        return pool

    @property
    def has_pool(self) -> bool:
        """Whether the pool was made; before that nothing is loaded."""
        return "pool" in vars(self)

    def check_open(self) -> None:
        """Raise EngineClosed if the engine is closed."""
        if self.closed:
            raise EngineClosed

    def check(self) -> None:
        """Check that work may begin. Raises EngineClosed, and EngineInUse where this thread is
        already working on the card, or waiting for it."""
        self.check_open()
        if self.card.turn.is_mine():
            raise EngineInUse

    def close(self) -> None:
        """Release everything, and stop watching for idle parts. Work in progress is finished."""
        self.closed = True
        if self._idle is not None:
            self._idle.close()
        if self.has_pool:
            self.pool.release()

    def set_idle_timeout(self, seconds: float) -> None:
        """Offload idle parts after so many seconds. Raises InvalidRequest."""
        self.settings = self.settings.model_copy(update={"gpu_idle_timeout": seconds})
        if self._idle is not None:
            self._idle.change(seconds)

    def look_after(self) -> None:
        """Return leases left by calls that have ended. Does nothing while a call is running."""
        turn = self.card.turn
        if not turn.locked():
            with turn:
                self.pool.recover(self.settings.gpu_idle_timeout)

    def plan(self, footprint: Footprint, before: Footprint | None = None) -> ExecutionPlan:
        """Plan against what is free now. Precision follows the machine as it was first found.

        Work that comes `before` is planned together with it, so that a part used by both is placed
        where both can use it.
        """
        if before is not None:
            footprint = before.then(footprint)
        plan, wishes, notes = first_plan(
            footprint, self.machine, self.policy, self.wishes, self.settings
        )
        now = self.card.now(self.machine)
        if now.budget < plan.peak:
            wishes = replace(wishes, components=same_precision(plan, wishes))
            plan, now = self._beside(plan, footprint, now, wishes)
        faster = advice(plan, footprint, now, self.policy, self.wishes, self.settings)
        return ExecutionPlan(plan, Ladder(footprint, now, wishes), notes, faster, before)

    def plan_patiently(
        self, stop: Stop, footprint: Footprint, before: Footprint | None = None
    ) -> ExecutionPlan:
        """`plan`, which waits a while for memory that other programs hold. Raises Cancelled too."""
        sharing = self.card.sharing
        if sharing is None:
            return self.plan(footprint, before)
        return sharing.patiently(lambda: self.plan(footprint, before), stop)

    def _beside(
        self, whole: Plan, footprint: Footprint, now: Machine, wishes: Wishes
    ) -> tuple[Plan, Machine]:
        """The plan beside what other processes are at work with, and the machine it is for; or the
        one for when they have ended, where that is the only one, or much faster."""
        later = self.card.now(self.machine, waiting=True)
        if later.budget < whole.peak:
            whole = make_plan(footprint, later, wishes)
        if later.budget <= now.budget:
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
        """Do the work under the plan; return its result, and the run with its measurements."""

        def carried_out() -> tuple[R, Run]:
            self._lease(plan, stop, lambda position: tell(Queued(position)))
            tell(Started(act, plan))
            return work(run), run

        run = Run(plan, self.pool, self.card.device, tell, stop, ladder)
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
            return self.card.alone(
                open_still,
                stop,
                lambda position: tell(Queued(position)),
                threads=self.settings.threads,
                cap=self.cap,
            )

        return undone(waited_for, lambda: self._calls.remove(call) if call in self._calls else None)

    def bring(self, plan: Plan, stop: Stop) -> None:
        """Load every part of a plan, and move to the device those that may stay there.

        Raises OutOfMemory, in which case nothing stays on the device; Cancelled, DoesNotFit.
        """
        self._lease(plan, stop)
        residents = [p for p in plan.placements if p.residency is Residency.RESIDENT]
        others = [p for p in plan.placements if p.residency is not Residency.RESIDENT]
        placements = (*residents, *(replace(p, residency=Residency.HOST) for p in others))
        scope, owner = Scope(self.card.device), object()

        def undo() -> None:
            try:
                self.pool.end(owner)
            finally:
                scope.leave()

        def work() -> None:
            scope.enter()
            self.pool.make_room(plan.residents, spare=max(0, plan.budget - plan.peak))
            self.pool.lease(placements, owner)
            self.card.device.synchronize()

        ran_out = False
        try:
            undone(work, undo)
        except torch.OutOfMemoryError:
            ran_out = True  # not answered here: the error's frames keep the allocations alive
        if ran_out:
            self.pool.offload()
            self.pool.make_room(())
            raise OutOfMemory("prefetch", plan.peak, 0)

    def _lease(self, plan: Plan, stop: Stop, moved: Moved = ignored) -> None:
        """Reserve what a plan takes, among the processes on the card."""
        if self.card.sharing is not None:
            self.pool.make_room(plan.residents, spare=plan.budget)
            self.card.lease(self.pool, with_reserve(plan.peak), stop, moved)

    def _end(self) -> None:
        """Release the parts that a call brought after the engine was closed."""
        if self.closed and "pool" in vars(self):
            self.pool.release()

    def _give_back(self) -> None:
        """Give memory back: all of it if memory is managed and no other call of this engine is
        waiting, which would bring it again; else unused memory if requested."""
        if self.settings.gpu_management:
            if len(self._calls) <= 1:
                self.pool.offload()
        elif self.settings.offload:
            gc.collect()
            self.card.device.release()
            self.card.device.synchronize()
