"""States of a request before rendering: settled, planned by a language model, composed.

`merged` makes one result out of those of a request's songs.
"""

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
    """A request inside its limits, with its seeds. `most_seconds` is the longest song allowed."""

    request: Request
    seeds: tuple[int, ...]
    notes: tuple[Note, ...]
    most_seconds: float


@dataclass(frozen=True, slots=True)
class ToThink:
    """Work for a language model before a rendering.

    language   the model that does it
    needs      of the work; `rendering`: needs of the longest songs it may lead to
    """

    language: str
    needs: Footprint
    rendering: Footprint
    task: Task


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready to be rendered: fully specified, its songs composed.

    before   what the language model that planned it needed, for planning both together
    thought  the report of that work
    language the model that did it
    """

    request: Request
    songs: tuple[Song, ...]
    notes: tuple[Note, ...]
    before: Footprint | None = None
    thought: Report | None = None
    language: str | None = None


def to_think(settled: Settled, model: AnyModel, desk: Desk) -> ToThink | Note | None:
    """The work a language model does first; a note where it was requested and is not possible."""
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
    """A prepared request, split into one for each of its songs."""
    return tuple(
        prepared.request.model_copy(update={"batch_size": 1, "seed": song.seed, "seeds": ()})
        for song in prepared.songs
    )


def merged(settled: Settled, results: Sequence[Result], told: Sequence[Prepared]) -> Result:
    """One result for a request whose songs were rendered as separate requests."""
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
