"""Run the stages of a plan. Models name the stage that begins; the executor places its parts."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from headroom.audio.wave import Audio
from headroom.device import Device, Graph
from headroom.errors import Cancelled, OutOfMemory
from headroom.lm.token_timing import TokenTiming
from headroom.memory.plan import Placement, Plan, Residency, StagePlan
from headroom.runtime.events import (
    AudioReady,
    Loading,
    Progress,
    Replanned,
    StageDone,
    StageStarted,
    Stop,
    Tell,
    WithAudio,
    Wrote,
    never,
    tell_nobody,
)
from headroom.runtime.pool import Parts, Pool
from headroom.runtime.recovery import Ladder, Rung
from headroom.runtime.scope import Scope
from headroom.runtime.undo import Dropping, undone

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """A running stage: how it is cut, where it computes, and where it reports."""

    plan: StagePlan
    device: torch.device
    _tell: Tell
    _stop: Stop
    _device: Device

    @property
    def captures(self) -> bool:
        """Whether the device records graphs where the stage computes."""
        return self._device.can_capture() and self.device == self._device.torch

    def capture(self, work: Callable[[], None]) -> Graph:
        """Record work on fixed tensors; on devices without graphs, replaying calls it."""
        return self._device.capture(work)

    @property
    def tile(self) -> int | None:
        """Size of a tile in the model's own unit; None if the stage does not work in tiles."""
        return self.plan.tile

    @property
    def pieces(self) -> int:
        """Number of pieces the work is cut into."""
        return self.plan.pieces

    @property
    def leaves(self) -> bool:
        """Whether results leave the device as they are made, instead of at the end."""
        return self.plan.leaves

    def progress(self, done: int, total: int) -> None:
        """Report the stage's progress. Raises Cancelled after a request to stop."""
        self._tell(Progress(self.plan.stage, done, total))
        self.check()

    def audio(self, song: int, start: int, samples: Tensor, rate: int) -> None:
        """Tell who listens early that samples [channels, n] of a song are decoded, as AudioReady
        describes; `song` counts the songs of this run. Nothing is copied if nobody does."""
        if isinstance(self._tell, WithAudio) and samples.shape[-1]:
            copied = samples.detach().to("cpu", torch.float32, copy=True)
            self._tell(AudioReady(song, start, Audio(copied, rate)))

    def settle(self) -> None:
        """Wait until the device has finished all queued work; for callers that measure."""
        self._device.synchronize()

    def wrote(self, spent: TokenTiming) -> None:
        """Report what a language model has written."""
        self._tell(Wrote(self.plan.stage, spent))

    def check(self) -> None:
        """Raise Cancelled after a request to stop. Cheap; call it between units of work."""
        if self._stop():
            raise Cancelled(f"stopped in stage {self.plan.stage!r}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where stages run: a device, and the pool of the parts there."""

    pool: Pool
    device: Device


class Run:
    """One render. `report` and `kept` grow stage by stage; a failed stage adds to neither.

    beside  the further cards of a group, in the order of the plan's numbers
    """

    def __init__(
        self,
        plan: Plan,
        pool: Pool,
        device: Device,
        tell: Tell = tell_nobody,
        stop: Stop = never,
        ladder: Ladder | None = None,
        beside: Sequence[Place] = (),
    ) -> None:
        self.plan = plan
        self._places, self._ladder = (Place(pool, device), *beside), ladder
        self._tell, self._stop = tell, stop
        self._report: list[StageDone] = []
        self._kept: dict[str, Tensor] = {}
        self._in_stage = ""

    @property
    def report(self) -> tuple[StageDone, ...]:
        """The stages that have ended, in order."""
        return tuple(self._report)

    @property
    def kept(self) -> Mapping[str, Tensor]:
        """The tensors passed to `keep`, by name."""
        return dict(self._kept)

    def keep(self, name: str, tensor: Tensor) -> None:
        """Return a tensor along with the audio, such as `latents` [B, T, C], copied to the host."""
        self._kept[name] = tensor.detach().to("cpu", copy=True)

    def stage(self, name: str, work: Callable[[Step, Parts], T]) -> T:
        """Lease the stage's parts, call `work(step, parts)`, measure, report, give them back.

        After running out of memory, `work` is called again under a tighter plan, so it must not
        change its inputs; finished stages are not repeated. Gradients are off. Raises Cancelled,
        OutOfMemory if no plan helps, and whatever `work` raises.
        """
        if self._in_stage:
            raise RuntimeError(f"stage {name!r} begins inside stage {self._in_stage!r}")
        planned, card = self.plan.stage(name).peak, self.plan.stage(name).card
        rungs: list[Rung] | None = None
        tried = 0
        while True:
            # The error is neither kept nor chained: its frames hold what the stage had allocated.
            stopped: str | None = None
            try:
                with Dropping():
                    return self._once(name, work)
            except torch.OutOfMemoryError:
                pass
            except Cancelled as cancelled:
                stopped = str(cancelled)
            if stopped is not None:
                raise Cancelled(stopped)
            gc.collect()  # frees memory held by reference cycles before the retry
            self._places[card].pool.offload()
            self._places[card].pool.make_room(())
            if rungs is None:
                rungs = [] if self._ladder is None else self._rungs(self._ladder, card)
            if not rungs:
                raise OutOfMemory(name, planned, tried)
            rung, tried = rungs.pop(0), tried + 1
            self.plan = rung.plan
            self._tell(Replanned(name, rung.why, rung.same_output))

    def _rungs(self, ladder: Ladder, card: int) -> list[Rung]:
        """Tighter plans for what is left to do on the card whose memory ran out."""
        done = [ended.stage for ended in self._report]
        rungs = ladder.on(card, self.plan).rungs(self.plan.on(card), done)
        return [replace(rung, plan=self.plan.with_card(card, rung.plan)) for rung in rungs]

    def _once(self, name: str, work: Callable[[Step, Parts], T]) -> T:
        plan = self.plan.stage(name)
        placements = tuple(self.plan.placement(c) for c in plan.uses)
        device = self._places[plan.card].device
        step = Step(plan, _where(placements, device), self._tell, self._stop, device)
        step.check()
        kept = dict(self._kept)
        done: list[StageDone] = []

        def undo() -> None:
            self._in_stage = ""
            if not done:
                self._kept = kept

        def measured() -> T:
            self._in_stage = name
            self._tell(StageStarted(name, plan.peak))
            result, ended = self._measured(step, placements, work)
            done.append(ended)
            return result

        result = undone(measured, undo)
        self._report += done
        self._tell(done[0])
        return result

    def _measured(
        self, step: Step, placements: tuple[Placement, ...], work: Callable[[Step, Parts], T]
    ) -> tuple[T, StageDone]:
        here = self.plan.on(step.plan.card)
        pool, device = self._places[step.plan.card].pool, self._places[step.plan.card].device
        scope, others = Scope(device), list[int]()
        began = time.perf_counter()
        peaks: list[int] = []

        def undo() -> None:
            try:
                pool.end(self)
            finally:
                scope.leave()
                peaks.append(device.max_memory_allocated())  # reading it ends the measurement

        def leased() -> tuple[T, float]:
            scope.enter()
            pool.make_room(here.residents, spare=max(0, here.budget - here.peak))
            others.append(pool.bytes_of_others)
            device.reset_peak()  # memory from an earlier plan does not count for this stage
            parts = self._leased(placements, pool)
            loaded = time.perf_counter()
            result = work(step, parts)
            device.synchronize()
            return result, loaded

        result, loaded = undone(leased, undo)
        ended = time.perf_counter()
        others.append(pool.bytes_of_others)  # fewer, where some left meanwhile
        plan, used = step.plan, max(0, max(peaks) - pool.floor - min(others))
        counted = device.kind != "cpu"
        return result, StageDone(
            plan.stage, plan.peak, used, ended - began, loaded - began, counted
        )

    def _leased(self, placements: tuple[Placement, ...], pool: Pool) -> Parts:
        """The parts, leased one after the other, each with a Loading event where it must move."""
        parts: dict[str, object] = {}
        for placement in placements:
            missing = pool.missing(placement)
            if missing:
                self._tell(Loading(placement.component, missing))
            parts.update(pool.lease((placement,), self))
        return Parts(parts)


def _where(placements: tuple[Placement, ...], device: Device) -> torch.device:
    """The device, or the host if all parts of the stage stay there."""
    if placements and all(p.residency is Residency.HOST for p in placements):
        return torch.device("cpu")
    return device.torch
