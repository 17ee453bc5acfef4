"""What became of a request before it is rendered: settled, thought out, composed; and one result
out of those of its songs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from headroom.engine.result import Report, Result
from headroom.memory.footprint import Footprint
from headroom.models.base import Song
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
class Prepared:
    """A request ready to be rendered: nothing open, its songs composed.

    before  what the language model needed that thought it out, to be planned with
    thought what that took
    """

    request: Request
    songs: tuple[Song, ...]
    notes: tuple[Note, ...]
    before: Footprint | None = None
    thought: Report | None = None


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
