"""The public face: a request in, a result out."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path

from headroom.audio.wave import Audio
from headroom.engine.answers import AnswerMethods
from headroom.engine.executor import Executor
from headroom.engine.limits import (
    asks,
    batch_default,
    check_limits,
    most_seconds,
    request_limits,
    usual_inside,
)
from headroom.engine.management import ENABLED, Managed, unused_timeout
from headroom.engine.options import EngineOptions, check_kind, settings_given, signature
from headroom.engine.policy import ExecutionPlan, policy_in_force
from headroom.engine.preparation import (
    PlanningTask,
    PreparedRequest,
    SettledRequest,
    merged_result,
    planning_task,
    single_songs,
)
from headroom.engine.provenance import Provenance
from headroom.engine.record import record
from headroom.engine.report import report
from headroom.engine.result import Output, Result, SongResult, Songs
from headroom.engine.seeds import settle
from headroom.errors import InvalidRequest
from headroom.hardware.machine import Machine
from headroom.log import log
from headroom.memory.plan import NO_WISHES, Plan, Wishes
from headroom.models.base import AnyModel, Planned, Planner, Setup, Thought
from headroom.models.registry import family_named, language_size, open_family
from headroom.params.clamp import Note, clamp
from headroom.params.request import SONGS, Request
from headroom.runtime.card import Card, opened_cards
from headroom.runtime.compile_choice import CompileChoice
from headroom.runtime.events import Stop, Tell, never, numbered, tell_nobody
from headroom.runtime.run import Run
from headroom.settings import NO_LM, Settings


class Engine(AnswerMethods, Managed):
    """Makes songs with one model, on a device or a group of cards. Constructing it loads nothing.

    It takes every option of `EngineOptions` by its name, the first four (device, dtype, model,
    checkpoint_dir) also without; or, in place of the device, the options as one object.

    wishes    what narrows the plan, beyond what the policy does
    settings  for what the options leave open; None: those of the environment and `.env`
    card      of another engine, in place of `device`, or several as a group, on which a plan puts
              parts where it is fastest; None: the process's cards for `device`

    The attribute `settings` holds what is in force, and nothing below the engine reads the
    environment again. Raises InvalidRequest for an argument that is not allowed. One call at a
    time works on a card, of all engines there; other threads wait in a queue. Work is refused with
    EngineClosed once the engine is closed, and with EngineInUse where it is asked for by what
    listens to work on the same card.
    """

    __signature__ = signature(wishes=NO_WISHES, settings=None, card=None)

    def __init__(
        self,
        *unnamed: EngineOptions | str | Path | None,
        wishes: Wishes = NO_WISHES,
        settings: Settings | None = None,
        card: Card | Sequence[Card] | None = None,
        **named: object,
    ) -> None:
        options = EngineOptions.of(*unnamed, **named)
        check_kind("wishes", wishes, Wishes, "a Wishes")
        self.settings = settings = settings_given(settings).under(options)
        self.family = options.family
        size = language_size(self.family, settings.lm_model, settings, settings.checkpoint_dir)
        cards, machine = opened_cards(settings, options.device, card)
        self.card, self.device = cards[0], cards[0].device
        tiers = family_named(self.family).tiers
        policy = policy_in_force(machine, settings, self.device.can_capture(), tiers, size)
        self.policy = replace(policy, notes=(*policy.notes, *unused_timeout(settings)))
        self._compile = CompileChoice(
            self.device,
            settings.compile,
            promised=bool(self.policy.compile) and machine.kind == "cuda",
            folder=settings.cache_dir,
        )
        lm = settings.lm_model  # unless it names none, or the policy uses another
        if lm == NO_LM or any(note.field == "lm_model" for note in policy.notes):
            lm = None
        self._setup = Setup(
            self.device,
            machine,
            settings.model,
            settings.checkpoint_dir,
            settings.precision,
            self._compile,
            lm,
            self.policy.lms,
            self.policy.lm_loop,
            settings,
        )
        self._executor = Executor(
            cards, machine, tuple(one.cap for one in machine.cards), self.policy, settings, wishes,
            self.family, lambda: self.model,
        )  # fmt: skip
        if settings.gpu_management:
            log.warning(ENABLED)

    @cached_property
    def model(self) -> AnyModel:
        """The model, opened when first asked for. Raises WeightsMissing."""
        return open_family(self.family, self._setup)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What holds for every request: of the model, of the policy, of compiling."""
        why = self._compile.why_not(self.model.name, self.model.numerics().dtype)
        compiling = () if why is None else (Note("compile", True, False, why),)
        return (*self.model.notes, *self.policy.notes, *compiling)

    @property
    def machine(self) -> Machine:
        """The machine as it was found."""
        return self._executor.machine

    def plan(self, request: Request) -> Plan:
        """What `perform` would do. Runs nothing. Raises what `perform` raises before it runs."""
        self._executor.check_open()
        return self._planned_whole(self._settle(request))

    def perform(
        self, request: Request, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> Result[Output]:
        """The result of any request of the family: its songs, its song sheet, its score, ….

        `on_event` hears what happens; `cancel` is asked between units of work whether to stop.
        Raises InvalidInput (what was asked), WeightsMissing, DoesNotFit, OutOfMemory, Cancelled.
        """
        self._executor.check()
        if self._checked(request).makes == SONGS:
            return self.generate(request, on_event, cancel)
        return self._answer(self._settle(request), on_event, cancel)

    def generate(
        self, request: Request, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> SongResult:
        """The songs of a request: `compose`, then `render`. Raises as `perform`."""
        return self.generate_batch((request,), on_event, cancel)[0]

    def generate_batch(
        self, requests: Sequence[Request], on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> tuple[SongResult, ...]:
        """The results of several requests, in order; what can go together is one ragged pass."""
        self._executor.check()
        settled = tuple(self._settle_songs(request) for request in requests)
        thought = tuple(self._think_out(one, on_event, cancel) for one in settled)
        results = self._render_all([one for many in thought for one in many], on_event, cancel)
        ends = tuple(accumulate(len(many) for many in thought))
        return tuple(
            merged_result(one, results[end - len(many) : end], many)
            for one, many, end in zip(settled, thought, ends, strict=True)
        )

    def compose(
        self, request: Request, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> tuple[Request, ...]:
        """A request for each song, its seed and all that a language model decides written in.

        Each can be read, changed and handed to `render`. `think` tells the notes too. Raises as
        `generate`.
        """
        self._executor.check()
        prepared = self._think_out(self._settle_songs(request), on_event, cancel)
        return tuple(one for many in prepared for one in single_songs(many))

    def render(
        self, requests: Sequence[Request], on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> tuple[SongResult, ...]:
        """The results of requests that leave nothing to a language model, in order.

        Unchanged after `compose`, they have the seeds and the content of what `generate` makes. The
        plan may differ: `generate` also counts what the language model leaves on the device. Raises
        as `generate`, and InvalidRequest for a request that asks for a language model.
        """
        self._executor.check()
        settled = tuple(self._settle_songs(request) for request in requests)
        for one in settled:
            field = asks(one.request)
            if field is not None:
                raise InvalidRequest(field, True, "off, as `compose` returns it")
        return self._render_all([self._compose(one) for one in settled], on_event, cancel)

    def think(self, request: Request, on_event: Tell = tell_nobody) -> tuple[PreparedRequest, ...]:
        """The request with all that a language model plans of it written in, ready to be rendered;
        one for each song where one planned them. Raises as `generate`."""
        self._executor.check()
        return self._think_out(self._settle_songs(request), on_event, never)

    @property
    def has_language_model(self) -> bool:
        """Whether a language model is here to think and write. Raises what opening it raises."""
        return isinstance(self.model, Planner) and bool(self.model.languages)

    def prefetch(self, request: Request, cancel: Stop = never) -> None:
        """Load what a request needs, and bring to the device what its plan lets stay there.

        Raises what `plan` raises, and OutOfMemory, Cancelled.
        """
        self._executor.check()
        plan = self._planned_whole(self._settle(request))
        for card in plan.cards_used:  # one after another: who waits for one card holds no other
            self._executor.alone(cancel, partial(self._executor.bring, plan, card, cancel))

    def _checked(self, request: Request) -> Request:
        """The request, if the model answers requests of its type. Raises InvalidRequest."""
        kinds = self.model.requests
        if not isinstance(request, kinds):
            names = ", ".join(kind.__name__ for kind in kinds)
            raise InvalidRequest("request", type(request).__name__, f"a request of {names}")
        return request

    def _settle(self, request: Request) -> SettledRequest:
        asked = batch_default(self._checked(request), self.settings)
        check_limits(asked)
        allowed = request_limits(asked, self.model.limits(asked), self.settings, self.policy)
        inside, clamped = clamp(asked, allowed)
        settled, seeds, seeding = settle(inside)
        return SettledRequest(
            settled,
            seeds,
            (*clamped, *seeding),
            most_seconds(asked, allowed, self.policy, self.settings),
        )

    def _settle_songs(self, request: Request) -> SettledRequest:
        if self._checked(request).makes != SONGS:
            kind = type(request).__name__
            raise InvalidRequest("request", kind, f"a request for songs (`perform` takes {kind})")
        return self._settle(request)

    def _planned_whole(self, settled: SettledRequest) -> Plan:
        """The plan of everything that is done for a request."""
        if settled.request.makes != SONGS:
            return self._executor.plan(self._act(settled).footprint).whole
        task = planning_task(settled, self.model, self._executor)
        if isinstance(task, PlanningTask):
            return self._executor.plan(task.rendering, task.act.footprint).whole
        return self._executor.plan(self.model.footprint(self._compose(settled).songs)).whole

    def _compose(self, settled: SettledRequest) -> PreparedRequest:
        request, notes = usual_inside(settled.request, settled.most_seconds)
        composed = self.model.compose(request, settled.seeds, self.machine)
        return PreparedRequest(request, composed.songs, (*settled.notes, *notes, *composed.notes))

    # --- the language model ----------------------------------------------------------------

    def _think_out(
        self, settled: SettledRequest, on_event: Tell, cancel: Stop
    ) -> tuple[PreparedRequest, ...]:
        """The request as it is rendered: itself, or where it asked to think one for each song."""
        task = planning_task(settled, self.model, self._executor)
        if task is None:
            return (self._compose(settled),)
        if isinstance(task, Note):
            assert isinstance(settled.request, Planned)
            plain = settled.request.unasked()
            return (self._compose(replace(settled, request=plain, notes=(*settled.notes, task))),)
        act = task.act

        def alone() -> tuple[ExecutionPlan, Thought, Run, float]:
            self._make_way(act)
            planned = self._executor.plan_patiently(cancel, task.rendering, act.footprint)
            began = time.perf_counter()
            thought, run = self._executor.carry_out(
                act.name,
                planned.whole,
                planned.ladder,
                on_event,
                cancel,
                act.run,
            )
            return planned, thought, run, time.perf_counter() - began

        planned, thought, run, seconds = self._executor.alone(cancel, alone, on_event)
        told = report(run.plan, run.report, seconds, self._attention)
        told = replace(told, language=act.language)
        notes = (*settled.notes, *planned.notes, *thought.notes)
        made = [
            self._compose(replace(settled, request=request, seeds=(seed,), notes=notes))
            for request, seed in zip(thought.requests, settled.seeds, strict=True)
        ]
        made = [replace(one, before=act.footprint) for one in made]
        return (replace(made[0], thought=told), *made[1:])

    def _render_all(
        self, prepared: Sequence[PreparedRequest], on_event: Tell, cancel: Stop
    ) -> tuple[SongResult, ...]:
        """The result of each, in order; what can go together is one pass."""
        groups: dict[Hashable, list[int]] = {}
        for index, one in enumerate(prepared):
            groups.setdefault(self.model.together(one.songs[0]), []).append(index)
        ends = tuple(accumulate(len(one.songs) for one in prepared))
        results: dict[int, SongResult] = {}
        for members in groups.values():
            places = [n for i in members for n in range(ends[i] - len(prepared[i].songs), ends[i])]
            tell = numbered(on_event, dict(enumerate(places)))
            made = self._render([prepared[i] for i in members], tell, cancel)
            results.update(zip(members, made, strict=True))
        return tuple(results[index] for index in range(len(prepared)))

    def _render(
        self, members: Sequence[PreparedRequest], on_event: Tell, cancel: Stop
    ) -> tuple[SongResult, ...]:
        """One pass over the songs of all members, and the result of each."""
        songs = tuple(song for one in members for song in one.songs)

        def alone() -> tuple[ExecutionPlan, tuple[Audio, ...], Run, Provenance, float]:
            # What the last language model needed; the others have left.
            befores = (one.before for one in reversed(members) if one.before is not None)
            needs = self.model.footprint(songs)
            planned = self._executor.plan_patiently(cancel, needs, next(befores, None))
            began = time.perf_counter()
            requests = [one.request for one in members]
            audios, run = self._executor.carry_out(
                "render", planned.plan, planned.rest, on_event, cancel,
                lambda run: self.model.render(songs, run),
            )  # fmt: skip
            # Under the plan of the run: a tighter one, where memory ran out on the way.
            at = self.cards[planned.plan.card].device
            made = record(self.family, self.model, at, run.plan, requests)
            return planned, audios, run, made, time.perf_counter() - began

        planned, audios, run, made, seconds = self._executor.alone(cancel, alone, on_event)
        plan = run.plan
        if len(audios) != len(songs):
            raise RuntimeError(f"{self.model.name}: {len(audios)} audios for {len(songs)} songs")
        told = report(plan, run.report, seconds, self._attention, planned.advice)
        ends = tuple(accumulate(len(one.songs) for one in members))
        return tuple(
            Result(
                request=one.request,
                output=Songs(
                    audios=audios[last - len(one.songs) : last],
                    songs=one.songs,
                    provenance=tuple(
                        made.model_copy(update={"song": i, "seed": songs[i].seed})
                        for i in range(last - len(one.songs), last)
                    ),
                    kept={n: t[last - len(one.songs) : last] for n, t in run.kept.items()},
                ),
                plan=plan,
                report=told,
                notes=(*self.notes, *planned.notes, *one.notes),
            )
            for one, last in zip(members, ends, strict=True)
        )

    @property
    def _attention(self) -> str:
        numerics = self.model.numerics()
        return self.device.attention(numerics.dtype)
