"""What became of a request before it is rendered: settled, thought out, composed; and one result
out of those of its songs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from headroom.engine.desk import Desk
from headroom.engine.limits import asks
from headroom.engine.result import Report, Result
from headroom.memory.footprint import Footprint
from headroom.models.base import AnyModel, Song, Task, Thinker
from headroom.params.clamp import Note
from headroom.params.request import Request


@dataclass(frozen=True, slots=True)
class Settled:
    """A request inside its limits, its seeds drawn. `most_seconds` is the longest song allowed."""

    request: Request
    seeds: tuple[int, ...]
    notes: tuple[Note, ...]
    most_seconds: float


@dataclass(frozen=True, slots=True)
class ToThink:
    """Work for a language model before a rendering.

    language   which one does it
    needs      of the work, and `rendering`: of the longest songs that may come of it
    """

    language: str
    needs: Footprint
    rendering: Footprint
    task: Task


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready to be rendered: nothing open, its songs composed.

    before   what the language model needed that thought it out, to be planned with
    thought  what that took
    language which one it was
    """

    request: Request
    songs: tuple[Song, ...]
    notes: tuple[Note, ...]
    before: Footprint | None = None
    thought: Report | None = None
    language: str | None = None


def to_think(settled: Settled, model: AnyModel, desk: Desk) -> ToThink | Note | None:
    """What a language model is to do first; a note where it was asked for and cannot."""
    field = asks(settled.request)
    if field is None:
        return None
    if not desk.terms.init_lm:
        return Note(field, True, False, desk.terms.lm_off or "no language model is loaded")
    if not isinstance(model, Thinker):
        return Note(field, True, False, f"{model.name} has no language model")
    thinker: Thinker[Task] = model
    names = thinker.languages
    if not names:
        why = "no planner language model is installed: `acestep models download` fetches one"
        return Note(field, True, False, why)

    def work(name: str) -> tuple[Footprint, Task]:
        return thinker.task(settled.request, settled.seeds, settled.most_seconds, name)

    longest = work(names[0])[1].longest
    rendering = model.footprint(model.compose(longest, settled.seeds, desk.machine).songs)
    name, needs, task = desk.taken(names, work, rendering)
    return ToThink(name, needs, rendering, task)


def single_songs(prepared: Prepared) -> tuple[Request, ...]:
    """A prepared request as one for each of its songs."""
    return tuple(
        prepared.request.model_copy(update={"batch_size": 1, "seed": song.seed, "seeds": ()})
        for song in prepared.songs
    )


def merged(settled: Settled, results: Sequence[Result], told: Sequence[Prepared]) -> Result:
    """One result of a request whose songs were rendered as requests of their own."""
    first, thought = results[0], told[0].thought
    if thought is None:
        return first
    if len(results) == 1:
        return replace(first, request=settled.request, thought=thought)
    return Result(
        request=settled.request,
        audios=tuple(audio for one in results for audio in one.audios),
        songs=tuple(song for one in results for song in one.songs),
        plan=first.plan,
        report=first.report,
        notes=tuple(dict.fromkeys(note for one in results for note in one.notes)),
        provenance=tuple(p for one in results for p in one.provenance),
        kept={n: torch.cat([one.kept[n] for one in results]) for n in first.kept},
        thought=thought,
    )
