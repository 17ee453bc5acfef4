"""The steps of a request before rendering: settled, planned by a language model, composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch

from headroom.engine.executor import Executor
from headroom.engine.limits import asks
from headroom.engine.report import Report
from headroom.engine.result import Result, SongResult, Songs
from headroom.engine.seeds import alone
from headroom.memory.footprint import Footprint
from headroom.models.base import AnyModel, Planner, PlanningAct, Song
from headroom.params.clamp import Note
from headroom.params.request import Request
from headroom.reasons import reason


@dataclass(frozen=True, slots=True)
class SettledRequest:
    """A request inside its limits, with its seeds. `most_seconds` is the longest song allowed."""

    request: Request
    seeds: tuple[int, ...]
    notes: tuple[Note, ...]
    most_seconds: float


@dataclass(frozen=True, slots=True)
class PlanningTask:
    """The language model's work before a rendering, and the footprint of rendering the longest
    songs it may lead to."""

    act: PlanningAct
    rendering: Footprint


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request ready to be rendered: fully specified, its songs composed.

    before   the footprint of the language model's work, to plan both together; None: no such work
    thought  the report of that work
    """

    request: Request
    songs: tuple[Song, ...]
    notes: tuple[Note, ...]
    before: Footprint | None = None
    thought: Report | None = None


def planning_task(
    settled: SettledRequest, model: AnyModel, executor: Executor
) -> PlanningTask | Note | None:
    """The language model's work for a request, or why it cannot be done; None: not requested."""
    field = asks(settled.request)
    if field is None:
        return None
    if not executor.policy.init_lm:
        return Note(
            field, True, False, executor.policy.lm_off or reason("no_language_model_loaded")
        )
    if not isinstance(model, Planner):
        return Note(field, True, False, reason("model_without_language_model", model=model.name))
    planner: Planner = model
    names = planner.languages
    if not names:
        return Note(field, True, False, reason("no_language_model_installed"))

    @cache
    def work(name: str) -> PlanningAct:
        return planner.planning(settled.request, settled.seeds, settled.most_seconds, name)

    longest = work(names[0]).longest
    rendering = model.footprint(model.compose(longest, settled.seeds, executor.machine).songs)
    return PlanningTask(executor.chosen(names, work, rendering), rendering)


def single_songs(prepared: PreparedRequest) -> tuple[Request, ...]:
    """A prepared request, split into one for each of its songs."""
    return tuple(alone(prepared.request, song.seed) for song in prepared.songs)


def merged_result(
    settled: SettledRequest, results: Sequence[SongResult], prepared: Sequence[PreparedRequest]
) -> SongResult:
    """One result for a request whose songs were rendered as separate requests."""
    first, thought = results[0], prepared[0].thought
    if thought is None:
        return first
    outputs = [one.output for one in results]
    if len(results) == 1:
        return replace(
            first, request=settled.request, output=replace(first.output, thought=thought)
        )
    songs = Songs(
        audios=tuple(audio for one in outputs for audio in one.audios),
        songs=tuple(song for one in outputs for song in one.songs),
        provenance=tuple(p for one in outputs for p in one.provenance),
        kept={n: torch.cat([one.kept[n] for one in outputs]) for n in outputs[0].kept},
        thought=thought,
    )
    notes = tuple(dict.fromkeys(note for one in results for note in one.notes))
    return Result(settled.request, songs, first.plan, first.report, notes)
