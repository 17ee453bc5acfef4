"""The public face: a request in, a result out."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from headroom.audio.wave import Audio
from headroom.device import Device
from headroom.engine.acts import Acts
from headroom.engine.arguments import check_terms, options_said, settings_in_force
from headroom.engine.desk import Desk
from headroom.engine.limits import asks, batch_default, limits, most_seconds, usual_inside
from headroom.engine.management import Managed, unused_timeout
from headroom.engine.options import AUTO, EngineOptions
from headroom.engine.provenance import Provenance
from headroom.engine.record import record
from headroom.engine.result import Result, report
from headroom.engine.seeds import settle
from headroom.engine.terms import NO_CHOICES, choices_of, terms_in_force
from headroom.engine.terms import Planned as PlannedAct
from headroom.engine.thought import Prepared, Settled, ToThink, merged, single_songs, to_think
from headroom.errors import InvalidRequest
from headroom.hardware.machine import Machine
from headroom.hardware.probe import machine_of, opened
from headroom.log import log
from headroom.memory.limits import Choices
from headroom.memory.plan import NO_WISHES, Plan, Wishes
from headroom.models.base import (
    AnyModel,
    Planned,
    Setup,
    Speaker,
    Thinker,
    Thought,
)
from headroom.models.registry import USUAL, language_size, open_family
from headroom.params.clamp import Note, clamp
from headroom.params.request import Request
from headroom.runtime.compile_choice import CompileChoice
from headroom.runtime.events import Stop, Tell, never, tell_nobody
from headroom.runtime.run import Run
from headroom.settings import Policy, Settings

R = TypeVar("R")


class Engine(Acts, Managed):
    """Makes songs on one device with one model. Constructing it probes, and loads nothing.

    device          auto, cuda, mps, xpu or cpu; cuda and xpu with an index, as cuda:1. Or an
                    EngineOptions, which says this and the options up to `policy`
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
    something; nothing below the engine reads the environment again. Raises InvalidRequest for an
    argument that is not allowed. One render runs at a time; other threads wait. Work is refused
    with EngineClosed once the engine is closed, and with EngineInUse where it is asked for by what
    listens to this engine's own work.
    """

    def __init__(
        self,
        device: str | EngineOptions = AUTO,
        dtype: str = AUTO,
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
        options = options_said(
            device, dtype, model, checkpoint_dir, family, compile, threads, policy
        )
        self.settings = options.settings_with(settings_in_force(settings))
        policy = options.policy_in(self.settings)
        choices = options.choices if choices == NO_CHOICES else choices
        check_terms(policy, choices, wishes)
        said = choices_of(choices, self.settings)
        check_terms(policy, said, wishes)
        folder = options.checkpoint_dir
        size = language_size(options.family, said.lm, self.settings, folder)
        said = replace(said, lm_size=size)
        self.device: Device = opened(self.settings, options.device)
        machine = machine_of(self.device, self.settings)
        captures = self.device.can_capture()
        found = terms_in_force(machine, policy, said, self.settings, captures)
        self.terms = replace(found, notes=(*found.notes, *unused_timeout(self.settings)))
        self.family = options.family
        self._compile = CompileChoice(
            self.device,
            said.compile if options.compile is None else options.compile,
            promised=bool(self.terms.compile) and machine.kind == "cuda",
            folder=self.settings.cache_dir,
        )
        name = self.settings.model if options.model is None else options.model
        otherwise = said.lm == "none" or any(n.field == "lm_model" for n in self.terms.notes)
        self._setup = Setup(
            self.device,
            machine,
            name,
            folder,
            options.precision,
            self._compile,
            None if otherwise else said.lm,
            self.terms.lms,
            self.terms.lm_backend,
            self.settings,
        )
        self._desk = Desk(
            self.device, machine, self.terms, self.settings, said, wishes, options.threads,
            lambda: self.model.loaders(),
        )  # fmt: skip
        self._language: str | None = None  # the one that was last at work
        if self.settings.gpu_management:
            log.warning("🚀 GPU 管理已启用: memory is given back after each request")

    @cached_property
    def model(self) -> AnyModel:
        """The model, opened when first asked for. Raises WeightsMissing."""
        return open_family(self.family, self._setup)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What holds for every request: of the model, of the policy, of compiling."""
        why = self._compile.why_not(self.model.name, self.model.numerics().dtype)
        compiling = () if why is None else (Note("compile", True, False, why),)
        return (*self.model.notes, *self.terms.notes, *compiling)

    @property
    def machine(self) -> Machine:
        """The machine as it was found."""
        return self._desk.machine

    def plan(self, request: Request) -> Plan:
        """What `generate` would do. Runs nothing. Raises what `generate` raises before it runs."""
        self._desk.check_open()
        settled = self._settle(request)
        return self._planned(settled, to_think(settled, self.model, self._desk)).whole

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
        self._desk.check()
        settled = tuple(self._settle(request) for request in requests)
        thought = tuple(self._think_out(one, on_event, cancel) for one in settled)
        results = self._render_all([one for many in thought for one in many], on_event, cancel)
        ends = tuple(accumulate(len(many) for many in thought))
        return tuple(
            merged(one, results[end - len(many) : end], many)
            for one, many, end in zip(settled, thought, ends, strict=True)
        )

    def compose(
        self, request: Request, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> tuple[Request, ...]:
        """A request for each song, its seed and all that a language model decides written in.

        Each can be read, changed and handed to `render`. `think` tells the notes too. Raises as
        `generate`.
        """
        self._desk.check()
        prepared = self._think_out(self._settle(request), on_event, cancel)
        return tuple(one for many in prepared for one in single_songs(many))

    def render(
        self, requests: Sequence[Request], on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> tuple[Result, ...]:
        """The results of requests that leave nothing to a language model, in order.

        Unchanged after `compose`, they have the seeds and the content of what `generate` makes. The
        plan may differ: `generate` also counts what the language model leaves on the device. Raises
        as `generate`, and InvalidRequest for a request that asks for a language model.
        """
        self._desk.check()
        settled = tuple(self._settle(request) for request in requests)
        for one in settled:
            field = asks(one.request)
            if field is not None:
                raise InvalidRequest(field, True, "off, as `compose` returns it")
        return self._render_all([self._compose(one) for one in settled], on_event, cancel)

    def think(self, request: Request, on_event: Tell = tell_nobody) -> tuple[Prepared, ...]:
        """The request with all that a language model plans of it written in, ready to be rendered;
        one for each song where one planned them. Raises as `generate`."""
        self._desk.check()
        return self._think_out(self._settle(request), on_event, never)

    @property
    def has_language_model(self) -> bool:
        """Whether a language model is here to think and write. Raises what opening it raises."""
        return isinstance(self.model, Speaker) and bool(self.model.languages)

    def prefetch(self, request: Request, cancel: Stop = never) -> None:
        """Load what a request needs, and bring to the device what its plan lets stay there.

        Raises what `plan` raises, and OutOfMemory, Cancelled.
        """
        self._desk.check()
        settled = self._settle(request)
        task = to_think(settled, self.model, self._desk)
        language = task.language if isinstance(task, ToThink) else None
        plan = self._planned(settled, task).whole

        def alone() -> None:
            self._use(language)
            self._desk.bring(plan)

        self._desk.alone(cancel, alone)

    def _settle(self, request: Request) -> Settled:
        kinds = self.model.requests
        if not isinstance(request, kinds):
            names = ", ".join(kind.__name__ for kind in kinds)
            raise InvalidRequest("request", type(request).__name__, f"a request of {names}")
        asked = batch_default(request, self.settings)
        allowed = limits(asked, self.model.limits(asked), self.settings, self.terms)
        inside, clamped = clamp(asked, allowed)
        settled, seeds, seeding = settle(inside)
        return Settled(settled, seeds, (*clamped, *seeding), most_seconds(allowed))

    def _planned(self, settled: Settled, task: ToThink | Note | None) -> PlannedAct:
        """What is planned for a request, whose thinking is `task`."""
        if isinstance(task, ToThink):
            return self._desk.plan(task.rendering, task.needs)
        return self._desk.plan(self.model.footprint(self._compose(settled).songs))

    def _compose(self, settled: Settled) -> Prepared:
        request, notes = usual_inside(settled.request, settled.most_seconds)
        composed = self.model.compose(request, settled.seeds, self.machine)
        return Prepared(request, composed.songs, (*settled.notes, *notes, *composed.notes))

    # --- the language model ----------------------------------------------------------------

    def _think_out(self, settled: Settled, on_event: Tell, cancel: Stop) -> tuple[Prepared, ...]:
        """The request as it is rendered: itself, or where it asked to think one for each song."""
        task = to_think(settled, self.model, self._desk)
        if task is None:
            return (self._compose(settled),)
        if isinstance(task, Note):
            assert isinstance(settled.request, Planned)
            plain = settled.request.unasked()
            return (self._compose(replace(settled, request=plain, notes=(*settled.notes, task))),)
        assert isinstance(self.model, Thinker)
        thinker = self.model

        def alone() -> tuple[PlannedAct, Thought, Run, float]:
            self._use(task.language)
            planned = self._desk.plan(task.rendering, task.needs)
            began = time.perf_counter()
            thought, run = self._desk.carry_out(
                planned.whole,
                planned.ladder,
                on_event,
                cancel,
                lambda run: thinker.think(task.task, run),
            )
            return planned, thought, run, time.perf_counter() - began

        planned, thought, run, seconds = self._desk.alone(cancel, alone)
        told = report(run.plan, run.report, seconds, self._attention)
        told = replace(told, language=task.language)
        notes = (*settled.notes, *planned.notes, *thought.notes)
        made = [
            self._compose(replace(settled, request=request, seeds=(seed,), notes=notes))
            for request, seed in zip(thought.requests, settled.seeds, strict=True)
        ]
        made = [replace(one, before=task.needs, language=task.language) for one in made]
        return (replace(made[0], thought=told), *made[1:])

    def _render_all(
        self, prepared: Sequence[Prepared], on_event: Tell, cancel: Stop
    ) -> tuple[Result, ...]:
        """The result of each, in order; what can go together is one pass."""
        groups: dict[Hashable, list[int]] = {}
        for index, one in enumerate(prepared):
            groups.setdefault(self.model.together(one.songs[0]), []).append(index)
        results: dict[int, Result] = {}
        for members in groups.values():
            made = self._render([prepared[i] for i in members], on_event, cancel)
            results.update(zip(members, made, strict=True))
        return tuple(results[index] for index in range(len(prepared)))

    def _render(
        self, members: Sequence[Prepared], on_event: Tell, cancel: Stop
    ) -> tuple[Result, ...]:
        """One pass over the songs of all members, and the result of each."""
        songs = tuple(song for one in members for song in one.songs)

        def alone() -> tuple[PlannedAct, tuple[Audio, ...], Run, Provenance, float]:
            # What the language model in use needed; another one has left.
            befores = (one.before for one in members if one.language == self._language)
            planned = self._desk.plan(self.model.footprint(songs), next(befores, None))
            began = time.perf_counter()
            requests = [one.request for one in members]
            audios, run = self._desk.carry_out(
                planned.plan, planned.rest, on_event, cancel,
                lambda run: self.model.render(songs, run),
            )  # fmt: skip
            # Under the plan of the run: a tighter one, where memory ran out on the way.
            made = record(self.family, self.model, self.device, run.plan, requests)
            return planned, audios, run, made, time.perf_counter() - began

        planned, audios, run, made, seconds = self._desk.alone(cancel, alone)
        plan = run.plan
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
                notes=(*self.notes, *planned.notes, *one.notes),
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
