"""What an engine works at: a device, what is in force there, and the parts; one run at a time."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Footprint
from headroom.memory.limits import Choices, Terms
from headroom.memory.plan import Plan, Wishes
from headroom.memory.planner import plan as make_plan
from headroom.runtime.events import Stop, Tell
from headroom.runtime.idle import IdleWatch
from headroom.runtime.pool import Loaders, Pool
from headroom.runtime.recovery import Ladder
from headroom.runtime.run import Run
from headroom.settings import Settings

R = TypeVar("R")
W = TypeVar("W")


@dataclass
class Desk:
    """See the top of the file.

    loaders  asked for when the first part is wanted
    threads  of the host while it works; None: as torch has them
    """

    device: Device
    machine: Machine
    terms: Terms
    settings: Settings
    choices: Choices
    wishes: Wishes
    threads: int | None
    loaders: Callable[[], Loaders]
    working: threading.Lock = field(default_factory=threading.Lock)
    _idle: IdleWatch | None = None

    @cached_property
    def pool(self) -> Pool:
        """The parts, made when they are first wanted."""
        pool = Pool(self.device, self.loaders())
        if self.settings.gpu_management:
            self._idle = IdleWatch(pool, self.settings.gpu_idle_timeout)
        return pool

    def close(self) -> None:
        """Release everything, and end the watch over idle parts."""
        if self._idle is not None:
            self._idle.close()
        if "pool" in vars(self):  # else nothing was ever loaded
            self.pool.release()

    def plan(self, footprint: Footprint, before: Footprint | None = None) -> Planned:
        """The plan against what is free now. Precision is that of the machine as it was found.

        What comes `before` is planned with it, so that what both use is where both can have it.
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
        """Which language model does some work, before a rendering or alone; what the work needs,
        and the work as that one has it. Like precision, it goes by the machine as it was found."""
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
        """Do the work under the plan; its result, and the run with what it measured."""
        run = Run(plan, self.pool, self.device, tell, stop, ladder)
        try:
            return work(run), run
        finally:
            self._give_back()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which nobody else works here, with the threads that are wished for."""
        with self.working:
            before = torch.get_num_threads()
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            try:
                yield
            finally:
                if self.threads is not None:
                    torch.set_num_threads(before)

    def _now(self) -> Machine:
        """The machine with what is free at this moment; what our own parts hold counts as free."""
        if not self.machine.accelerated:
            return self.machine
        ours = self.pool.ledger.bytes()
        return replace(self.machine, free=min(self.device.free_memory() + ours, self.machine.total))

    def _give_back(self) -> None:
        """Memory: all of it under management, else what no tensor uses if that was asked for."""
        if self.settings.gpu_management:
            self.pool.offload()
        elif self.settings.offload:
            gc.collect()
            self.device.release()
            self.device.synchronize()
