"""Runs an engine's work on a device, one run at a time, and cleans up after interrupted calls.

It holds the device, the terms in force there, and the model's parts. Whatever an interrupted call
left behind is cleaned up when it ends, and again before the next call.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import torch

from headroom.device import Device
from headroom.engine.terms import (
    Planned,
    advice,
    first_plan,
    same_precision,
    with_language_model,
)
from headroom.errors import EngineClosed, EngineInUse, OutOfMemory
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Footprint
from headroom.memory.limits import Choices, Terms
from headroom.memory.plan import Plan, Residency, Wishes
from headroom.memory.planner import plan as make_plan
from headroom.runtime.events import Stop, Tell
from headroom.runtime.idle import IdleWatch
from headroom.runtime.pool import Loaders, Pool
from headroom.runtime.recovery import Ladder
from headroom.runtime.run import Run
from headroom.runtime.scope import Scope
from headroom.runtime.turn import Turn
from headroom.runtime.undo import Dropping, undone
from headroom.settings import Settings

R = TypeVar("R")
W = TypeVar("W")


@dataclass
class Desk:
    """A device, the terms in force there, and the model's parts; see the module's docstring.

    loaders  called when the first part is needed
    threads  of the host while it works; None: torch's own number
    """

    device: Device
    machine: Machine
    terms: Terms
    settings: Settings
    choices: Choices
    wishes: Wishes
    threads: int | None
    loaders: Callable[[], Loaders]
    working: Turn = field(default_factory=Turn)
    closed: bool = False
    _idle: IdleWatch | None = None
    _threads_before: int | None = None  # torch's number, while another is in force

    @cached_property
    def pool(self) -> Pool:
        """The pool of parts, made on first access."""
        pool = Pool(self.device, self.loaders())
        if self.settings.gpu_management:
            here = weakref.ref(self)
            first = lambda: None if (desk := here()) is None else desk.look_after()  # noqa: E731
            self._idle = IdleWatch(pool, self.settings.gpu_idle_timeout, first)
        return pool

    def check_open(self) -> None:
        """Raise EngineClosed if the engine is closed."""
        if self.closed:
            raise EngineClosed

    def check(self) -> None:
        """Check that work may begin. Raises EngineClosed, and EngineInUse where this thread is
        already working here."""
        self.check_open()
        if self.working.is_mine():
            raise EngineInUse

    def close(self) -> None:
        """Release everything, and stop watching for idle parts. Work in progress is finished."""
        self.closed = True
        if self._idle is not None:
            self._idle.close()
        if "pool" in vars(self):  # otherwise nothing was ever loaded
            self.pool.release()

    def look_after(self) -> None:
        """Return leases left by calls that have ended. Does nothing while a call is running."""
        if not self.working.locked():
            with self.working:
                self.pool.recover(self.settings.gpu_idle_timeout)

    def plan(self, footprint: Footprint, before: Footprint | None = None) -> Planned:
        """Plan against what is free now. Precision follows the machine as it was first found.

        Work that comes `before` is planned together with it, so that a part used by both is placed
        where both can use it.
        """
        if before is not None:
            footprint = before.then(footprint)
        found, wishes, notes = first_plan(
            footprint, self.machine, self.terms, self.wishes, self.settings
        )
        now = self._now()
        if now.budget < found.peak:
            wishes = replace(wishes, components=same_precision(found, wishes))
            found = make_plan(footprint, now, wishes)
        better = advice(
            found, footprint, now, self.terms.policy, self.choices, self.wishes, self.settings
        )
        return Planned(found, Ladder(footprint, now, wishes), notes, better, before)

    def taken(
        self,
        names: Sequence[str],
        work: Callable[[str], tuple[Footprint, W]],
        render: Footprint | None = None,
    ) -> tuple[str, Footprint, W]:
        """Choose the language model for some work, before a rendering or alone; also returns what
        the work needs and the work in that model's form. Like precision, the choice follows the
        machine as it was first found."""
        works: dict[str, tuple[Footprint, W]] = {}

        def build(name: str) -> Footprint:
            works[name] = work(name)
            return works[name][0]

        name, _ = with_language_model(
            names, build, render, self.machine, self.terms, self.wishes, self.settings
        )
        return name, *works[name]

    def carry_out(
        self, plan: Plan, ladder: Ladder, tell: Tell, stop: Stop, work: Callable[[Run], R]
    ) -> tuple[R, Run]:
        """Do the work under the plan; return its result, and the run with its measurements."""
        run = Run(plan, self.pool, self.device, tell, stop, ladder)
        with Dropping():
            return undone(lambda: (work(run), run), self._give_back)

    def alone(self, stop: Stop, work: Callable[[], R]) -> R:
        """Do work exclusively, with the requested number of threads.

        `stop` is polled while waiting for other work to end. Raises Cancelled, EngineClosed,
        EngineInUse.
        """
        self.check()
        with Dropping(), self.working.waited_for(stop):
            self.check_open()
            self._tidy()
            return undone(lambda: self._with_threads(work), self._tidy)

    def bring(self, plan: Plan) -> None:
        """Load every part of a plan, and move to the device those that may stay there.

        Raises OutOfMemory, in which case nothing stays on the device.
        """
        residents = [p for p in plan.placements if p.residency is Residency.RESIDENT]
        others = [p for p in plan.placements if p.residency is not Residency.RESIDENT]
        wanted = (*residents, *(replace(p, residency=Residency.HOST) for p in others))
        scope, owner = Scope(self.device), object()

        def undo() -> None:
            try:
                self.pool.end(owner)
            finally:
                scope.leave()

        def work() -> None:
            scope.enter()
            self.pool.make_room([p.component for p in residents])
            self.pool.lease(wanted, owner)
            self.device.synchronize()

        try:
            undone(work, undo)
            return
        except torch.OutOfMemoryError:
            pass  # its frames keep the allocations alive
        self.pool.offload()
        raise OutOfMemory("prefetch", plan.peak, 0)

    def _with_threads(self, work: Callable[[], R]) -> R:
        if self.threads is not None:
            self._threads_before = torch.get_num_threads()
            torch.set_num_threads(self.threads)
        return work()

    def _tidy(self) -> None:
        """Undo what a call changed here: this call, or an earlier one that was interrupted."""
        if self._threads_before is not None:
            torch.set_num_threads(self._threads_before)
            self._threads_before = None
        if "pool" in vars(self):
            self.pool.recover()
            if self.closed:
                self.pool.release()

    def _now(self) -> Machine:
        """The machine with its free memory now, counting that of our own parts as free."""
        if not self.machine.accelerated:
            return self.machine
        ours = self.pool.ledger.bytes()
        return replace(self.machine, free=min(self.device.free_memory() + ours, self.machine.total))

    def _give_back(self) -> None:
        """Give memory back: all of it if memory is managed, else unused memory if requested."""
        if self.settings.gpu_management:
            self.pool.offload()
        elif self.settings.offload:
            gc.collect()
            self.device.release()
            self.device.synchronize()
