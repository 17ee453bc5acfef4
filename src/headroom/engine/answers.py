"""The engine's methods whose output is no audio: answers such as song sheets, and timestamps."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TypeVar

from headroom.engine.executor import Executor
from headroom.engine.policy import ExecutionPlan
from headroom.engine.preparation import SettledRequest
from headroom.engine.report import Report, report
from headroom.engine.result import Result, SongResult
from headroom.errors import InvalidRequest
from headroom.memory.plan import Plan
from headroom.models.base import Act, Answers, AnyModel, Timer
from headroom.models.outputs import Answer, Timestamps
from headroom.params.clamp import Note
from headroom.runtime.events import Stop, Tell, never, tell_nobody
from headroom.settings import NO_LM, Settings

R = TypeVar("R")


class AnswerMethods(ABC):
    """A part of `Engine`: the methods whose output is no audio."""

    settings: Settings
    family: str
    _executor: Executor

    @property
    @abstractmethod
    def model(self) -> AnyModel:
        """The model, opened on first access."""

    @property
    @abstractmethod
    def notes(self) -> tuple[Note, ...]:
        """What holds for every request."""

    @property
    @abstractmethod
    def _attention(self) -> str: ...

    def timestamps(
        self,
        result: SongResult,
        index: int = 0,
        on_event: Tell = tell_nobody,
        cancel: Stop = never,
    ) -> Timestamps:
        """When the lines of a song made here are sung; `index` counts songs from 0.

        Raises InvalidRequest, DoesNotFit, Cancelled.
        """
        self._executor.check()
        if result.provenance[0].model != self.model.name:
            raise InvalidRequest("result", result.provenance[0].model, f"one of {self.model.name}")
        if not isinstance(self.model, Timer):
            raise InvalidRequest("family", self.family, "a family that sings words")
        if not 0 <= index < len(result.songs):
            raise InvalidRequest("index", index, f"a song from 0 to {len(result.songs) - 1}")
        kept = {name: rows[index] for name, rows in result.kept.items()}
        return self.carry_out(self.model.timing(result.songs[index], kept), on_event, cancel)

    def timed(
        self, result: SongResult, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> SongResult:
        """The result with the lyric times of all its songs, which `save` writes beside them."""
        songs = range(len(result.songs))
        times = tuple(self.timestamps(result, i, on_event, cancel) for i in songs)
        notes = dict.fromkeys((*result.notes, *(note for one in times for note in one.notes)))
        output = replace(result.output, timestamps=times)
        return replace(result, output=output, notes=tuple(notes))

    def carry_out(self, act: Act[R], on_event: Tell = tell_nobody, cancel: Stop = never) -> R:
        """The output of an act of this engine's model.

        Raises DoesNotFit, OutOfMemory, Cancelled.
        """
        return self._carried_out(act, on_event, cancel)[0]

    def _answer(self, settled: SettledRequest, on_event: Tell, cancel: Stop) -> Result[Answer]:
        """The result of a request that makes no songs."""
        act = self._act(settled)
        output, plan, measured, planned = self._carried_out(act, on_event, cancel)
        notes = (*self.notes, *settled.notes, *planned.notes, *act.notes, *output.notes)
        return Result(settled.request, output, plan, measured, tuple(dict.fromkeys(notes)))

    def _act(self, settled: SettledRequest) -> Act[Answer]:
        model, request = self.model, settled.request
        if not isinstance(model, Answers):
            raise InvalidRequest("family", self.family, f"a family that answers {request.makes}")
        if request.uses_language_model and self.settings.lm_model == NO_LM:
            needs = f"a language model: {type(request).__name__} needs one"
            raise InvalidRequest("lm_model", NO_LM, needs)
        names = model.alternatives(request)
        return self._executor.chosen(
            names, lambda name: model.act(request, settled.most_seconds, name)
        )  # fmt: skip

    def _carried_out(
        self, act: Act[R], on_event: Tell, cancel: Stop
    ) -> tuple[R, Plan, Report, ExecutionPlan]:
        """Plan and carry out an act: its output, the plan of its run, its report, its planning."""
        self._executor.check()

        def alone() -> tuple[R, Plan, Report, ExecutionPlan]:
            self._make_way(act)
            planned = self._executor.plan_patiently(cancel, act.footprint)
            began = time.perf_counter()
            output, run = self._executor.carry_out(
                act.name, planned.whole, planned.ladder, on_event, cancel, act.run
            )
            seconds = time.perf_counter() - began
            measured = report(run.plan, run.report, seconds, self._attention, planned.advice)
            return output, run.plan, replace(measured, language=act.language), planned

        return self._executor.alone(cancel, alone, on_event)

    def _make_way(self, act: Act[object]) -> None:
        """Release the parts whose place those of an act take."""
        for part in act.replaces:
            self._executor.pools.release(part)
