"""The public face: a request in, a result out."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch

from headroom.device import Device
from headroom.engine.acts import LONGEST, Acts
from headroom.engine.limits import batch_default, limits, thinks
from headroom.engine.record import record
from headroom.engine.result import Result, report
from headroom.engine.seeds import settle
from headroom.engine.terms import (
    NO_CHOICES,
    Planned,
    advice,
    choices_of,
    first_plan,
    same_precision,
)
from headroom.engine.thought import Prepared, Settled, merged
from headroom.errors import InvalidRequest
from headroom.hardware.machine import DType, Machine
from headroom.hardware.probe import opened, probe
from headroom.log import log
from headroom.memory.footprint import Footprint
from headroom.memory.limits import Choices, terms
from headroom.memory.plan import NO_WISHES, Plan, Wishes
from headroom.memory.planner import plan as make_plan
from headroom.models.base import (
    AnyModel,
    Setup,
    Song,
    Task,
    Thinker,
)
from headroom.models.registry import USUAL, open_family
from headroom.params.clamp import Note, clamp
from headroom.params.request import Request
from headroom.runtime.events import Stop, Tell, never, tell_nobody
from headroom.runtime.idle import IdleWatch
from headroom.runtime.pool import PartStatus, Pool
from headroom.runtime.recovery import Ladder
from headroom.runtime.run import Run
from headroom.settings import Settings, load
from headroom.settings_memory import Policy

DTYPES: Mapping[str, DType | None] = {
    "auto": None,
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
}


class Engine(Acts):
    """Makes songs on one device with one model. Constructing it probes, and loads nothing.

    device          auto, cuda, mps, xpu or cpu; cuda and xpu with an index, as cuda:1
    dtype           auto, float32, bfloat16 or float16
    model           name of a model folder; None: the best that is installed
    checkpoint_dir  where model folders are; None: what the settings say
    family          the model family
    compile         whether to compile; None: where it pays
    threads         of the host while rendering; None: as torch has them
    wishes          what narrows the plan, beyond what the policy does
    policy          published (what the card's tier promises) or adaptive (the best that fits)
    choices         what of the policy's row is to be otherwise

    What is left at its default is taken from `settings` (environment and `.env`) where they say
    something. Raises InvalidRequest for a device or dtype that is not allowed. One render runs at
    a time; other threads wait.
    """

    def __init__(
        self,
        device: str = "auto",
        dtype: str = "auto",
        model: str | None = None,
        checkpoint_dir: str | Path | None = None,
        *,
        family: str = USUAL,
        compile: bool | None = None,
        threads: int | None = None,
        wishes: Wishes = NO_WISHES,
        policy: Policy | None = None,
        choices: Choices = NO_CHOICES,
        settings: Settings | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise InvalidRequest("dtype", dtype, "one of " + ", ".join(DTYPES))
        if threads is not None and threads < 1:
            raise InvalidRequest("threads", threads, "a whole number, at least 1")
        self.settings = load() if settings is None else settings
        self.device: Device = opened(self.settings, device)
        self.machine: Machine = probe(self.device)
        self._choices = choices_of(choices, self.settings)
        self.terms = terms(self.machine, policy or self.settings.policy, self._choices)
        self.family = family
        folder = self.settings.checkpoints_dir if checkpoint_dir is None else Path(checkpoint_dir)
        name = self.settings.model if model is None else model
        lm = self._choices.lm if self._choices.lm not in (None, "none") else None
        otherwise = any(note.field == "lm_model" for note in self.terms.notes)
        named = None if otherwise else lm
        self._setup = Setup(
            self.device,
            self.machine,
            name,
            folder,
            DTYPES[dtype],
            compile,
            named,
            self.terms.lms,
            self.terms.lm_backend == "vllm",
        )
        self._threads, self._wishes = threads, wishes
        self._working = threading.Lock()
        self._idle: IdleWatch | None = None
        if self.settings.gpu_management:
            log.warning("🚀 GPU 管理已启用: memory is given back after each request")

    @cached_property
    def model(self) -> AnyModel:
        """The model, opened when first asked for. Raises WeightsMissing."""
        return open_family(self.family, self._setup)

    @cached_property
    def _pool(self) -> Pool:
        pool = Pool(self.device, self.model.loaders())
        if self.settings.gpu_management:
            self._idle = IdleWatch(pool, self.settings.gpu_idle_timeout)
        return pool

    def plan(self, request: Request) -> Plan:
        """What `generate` would do. Runs nothing. Raises what `generate` raises before it runs."""
        settled = self._settle(request)
        task = self._task(settled)
        if task is None or isinstance(task, Note):
            return self._plan(self._compose(settled).songs).plan
        return self._plan(*self._longest(task, settled)).whole

    def generate(
        self, request: Request, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> Result:
        """The songs of a request.

        `on_event` hears what happens; `cancel` is asked between units of work whether to stop.
        Raises InvalidInput (what was asked), DoesNotFit, Cancelled.
        """
        return self.generate_batch((request,), on_event, cancel)[0]

    def generate_batch(
        self, requests: Sequence[Request], on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> tuple[Result, ...]:
        """The results of several requests, in order; what can go together is one ragged pass."""
        settled = tuple(self._settle(request) for request in requests)
        thought = tuple(self._think_out(one, on_event, cancel) for one in settled)
        prepared = [one for many in thought for one in many]
        groups: dict[Hashable, list[int]] = {}
        for index, one in enumerate(prepared):
            groups.setdefault(self.model.together(one.songs[0]), []).append(index)
        results: dict[int, Result] = {}
        for members in groups.values():
            made = self._render([prepared[i] for i in members], on_event, cancel)
            results.update(zip(members, made, strict=True))
        ends = tuple(accumulate(len(many) for many in thought))
        return tuple(
            merged(one, [results[i] for i in range(end - len(many), end)], many)
            for one, many, end in zip(settled, thought, ends, strict=True)
        )

    def status(self) -> tuple[PartStatus, ...]:
        """Every part of the model: where it is, what it takes, who uses it. Waits for nobody."""
        return self._pool.status()

    def offload(self, part: str | None = None) -> None:
        """Take a part, or all of them, off the device; what is at work leaves when it is done."""
        self._pool.offload(part)

    def release(self, part: str | None = None) -> None:
        """Drop a part, or all of them, on the device and in host memory."""
        self._pool.release(part)

    def close(self) -> None:
        """Release everything, and end the watch over idle parts."""
        if self._idle is not None:
            self._idle.close()
        if "_pool" in vars(self):  # else nothing was ever loaded
            self._pool.release()

    def _settle(self, request: Request) -> Settled:
        kinds = self.model.requests
        if not isinstance(request, kinds):
            names = ", ".join(kind.__name__ for kind in kinds)
            raise InvalidRequest("request", type(request).__name__, f"a request of {names}")
        asked = batch_default(request, self.settings)
        allowed = limits(asked, self.model.limits(asked), self.settings, self.terms)
        inside, clamped = clamp(asked, allowed)
        settled, seeds, seeding = settle(inside)
        most = allowed["duration"].maximum if "duration" in allowed else LONGEST
        return Settled(settled, seeds, (*clamped, *seeding), min(most, LONGEST))

    def _compose(self, settled: Settled) -> Prepared:
        composed = self.model.compose(settled.request, settled.seeds, self.machine)
        return Prepared(settled.request, composed.songs, (*settled.notes, *composed.notes))

    # --- the language model ----------------------------------------------------------------

    def _task(self, settled: Settled) -> Task | Note | None:
        """What a language model is to do first; a note where it was asked for and cannot."""
        if not thinks(settled.request):
            return None
        if not self.terms.init_lm:
            tier = "" if self.terms.tier is None else f" on {self.terms.tier.label}"
            why = f"no language model is loaded{tier} unless asked for (--init-lm)"
            return Note("thinking", True, False, why)
        if not isinstance(self.model, Thinker):
            return Note("thinking", True, False, f"{self.model.name} has no language model")
        task: Task | Note = self.model.task(settled.request, settled.seeds, settled.most_seconds)
        return task

    def _longest(self, task: Task, settled: Settled) -> tuple[tuple[Song, ...], Footprint]:
        """The longest songs that may come of it, and what thinking them out needs."""
        assert isinstance(self.model, Thinker)
        songs = self.model.compose(task.longest, settled.seeds, self.machine).songs
        return songs, self.model.thinking_footprint(task)

    def _think_out(self, settled: Settled, on_event: Tell, cancel: Stop) -> tuple[Prepared, ...]:
        """The request as it is rendered: itself, or where it asked to think one for each song."""
        task = self._task(settled)
        if task is None:
            return (self._compose(settled),)
        if isinstance(task, Note):
            plain = settled.request.model_copy(update={"thinking": False})
            return (self._compose(replace(settled, request=plain, notes=(*settled.notes, task))),)
        assert isinstance(self.model, Thinker)
        with self._working, self._pinned():
            songs, needs = self._longest(task, settled)
            planned = self._plan(songs, needs)
            began = time.perf_counter()
            run = Run(planned.whole, self._pool, self.device, on_event, cancel, planned.ladder)
            try:
                thought = self.model.think(task, run)
            finally:
                self._after()
            seconds = time.perf_counter() - began
            told = report(run.plan, run.report, seconds, self._attention)
        notes = (*settled.notes, *planned.notes, *thought.notes)
        made = [
            self._compose(replace(settled, request=request, seeds=(seed,), notes=notes))
            for request, seed in zip(thought.requests, settled.seeds, strict=True)
        ]
        first = replace(made[0], before=needs, thought=told)
        return (first, *(replace(one, before=needs) for one in made[1:]))

    def _plan(self, songs: tuple[Song, ...], before: Footprint | None = None) -> Planned:
        """The plan against what is free now. Precision is that of the machine as it was found.

        What comes `before` is planned with it, so that what both use is where both can have it.
        """
        footprint = self.model.footprint(songs)
        if before is not None:
            footprint = before.then(footprint)
        found, wishes, notes = first_plan(
            footprint, self.machine, self.terms, self._wishes, self.settings
        )
        now = self._now()
        if now.budget < found.peak:
            wishes = replace(wishes, components=same_precision(found, wishes))
            found = make_plan(footprint, now, wishes)
        better = advice(
            found, footprint, now, self.terms.policy, self._choices, self._wishes, self.settings
        )
        return Planned(found, Ladder(footprint, now, wishes), notes, better, before)

    def _now(self) -> Machine:
        """The machine with what is free at this moment; what our own parts hold counts as free."""
        if not self.machine.accelerated:
            return self.machine
        ours = self._pool.ledger.bytes()
        return replace(self.machine, free=min(self.device.free_memory() + ours, self.machine.total))

    def _render(
        self, members: Sequence[Prepared], on_event: Tell, cancel: Stop
    ) -> tuple[Result, ...]:
        """One pass over the songs of all members, and the result of each."""
        songs = tuple(song for one in members for song in one.songs)
        with self._working, self._pinned():
            planned = self._plan(songs, members[0].before)
            began = time.perf_counter()
            requests = [one.request for one in members]
            run = Run(planned.plan, self._pool, self.device, on_event, cancel, planned.rest)
            try:
                audios = self.model.render(songs, run)
            finally:
                self._after()
            plan = run.plan  # a tighter one, where memory ran out on the way
            made = record(self.family, self.model, self.device, plan, requests)
            seconds = time.perf_counter() - began
        if len(audios) != len(songs):
            raise RuntimeError(f"{self.model.name}: {len(audios)} audios for {len(songs)} songs")
        told = report(plan, run.report, seconds, self._attention, planned.advice)
        ends = tuple(accumulate(len(one.songs) for one in members))
        return tuple(
            Result(
                request=one.request,
                audios=audios[last - len(one.songs) : last],
                songs=one.songs,
                plan=plan,
                report=told,
                notes=(*self.model.notes, *self.terms.notes, *planned.notes, *one.notes),
                provenance=tuple(
                    made.model_copy(update={"song": i, "seed": songs[i].seed})
                    for i in range(last - len(one.songs), last)
                ),
                kept={n: t[last - len(one.songs) : last] for n, t in run.kept.items()},
            )
            for one, last in zip(members, ends, strict=True)
        )

    @property
    def _attention(self) -> str:
        numerics = self.model.numerics()
        return self.device.attention(numerics.dtype)

    def _after(self) -> None:
        """Give memory back: all of it under management, else what no tensor uses if asked to."""
        if self.settings.gpu_management:
            self._pool.offload()
        elif self.settings.offload:
            gc.collect()
            self.device.release()
            self.device.synchronize()

    @contextmanager
    def _pinned(self) -> Iterator[None]:
        """The host's threads as wished for, and afterwards as they were."""
        before = torch.get_num_threads()
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            if self._threads is not None:
                torch.set_num_threads(before)
