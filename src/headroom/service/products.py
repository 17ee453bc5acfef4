"""Turns the result of a request into what is kept of it: a JSON text, and files for its songs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from headroom.audio.formats import Format, container
from headroom.engine.names import Names, Wanted, usual_format
from headroom.engine.provenance import Provenance
from headroom.engine.result import Result, Songs
from headroom.engine.save import Page, sidecar, write_all
from headroom.engine.seeds import SEEDS_DRAWN
from headroom.engine.wire import Outcome, result_json
from headroom.engine.wire.results import SongsMade
from headroom.jobs.files import Files
from headroom.jobs.tallies import Count, Tally
from headroom.jobs.values import Made
from headroom.models.outputs import Answer
from headroom.params.describe import describe
from headroom.service.hidden import Hidden
from headroom.service.reuse import word_of
from headroom.storage.probe import kind_in


@dataclass(frozen=True, slots=True)
class Kept:
    """A result as JSON text, its outputs for the library, what it adds to the counters, and the
    word of `service.reuse` for its songs."""

    result: str
    made: tuple[Made, ...] = ()
    counts: tuple[Count, ...] = ()
    same: str | None = None


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps results of one job: files of `owner`, written in `folder` first.

    parent  the id of the file that the request reads, if it reads one
    """

    files: Files
    owner: str
    folder: Path
    hidden: Hidden
    parent: str | None = None

    def keep(self, result: Result[Songs | Answer]) -> Kept:
        """Write the songs and store them; all of it without paths of the server.

        Raises InvalidOutput, StorageFull, StorageFailed, DatabaseFailed.
        """
        whole = result.outcome()
        if not isinstance(whole.output, SongsMade):
            return Kept(self._text(whole), counts=_clamps(result))
        songs = cast("Result[Songs]", result)
        pages = [self._without_paths(page) for page in songs.pages()]
        written = self._written(songs, pages)
        made = tuple(self._stored(*pair) for pair in zip(pages, written, strict=True))
        named = zip(whole.output.songs, made, strict=True)
        output = SongsMade(tuple(replace(song, file=one.file) for song, one in named))
        text = self._text(replace(whole, output=output))
        return Kept(text, made, _clamps(result), self._word(songs))

    def _word(self, songs: Result[Songs]) -> str:
        """What is equal for requests that make these songs."""
        known = songs.output.provenance[0]
        values = self.hidden.object(songs.request.model_dump(mode="json"))
        return word_of(known.family, known.model, songs.request, values)

    def _text(self, whole: Outcome) -> str:
        return json.dumps(self.hidden.object(result_json(whole)))

    def _without_paths(self, page: Page) -> Page:
        known = self.hidden.json(page.provenance.model_dump(mode="json"))
        extras = self.hidden.object(dict(page.extras))
        return replace(page, provenance=Provenance.model_validate(known), extras=extras)

    def _written(self, result: Result[Songs], pages: Sequence[Page]) -> tuple[Path, ...]:
        asked: Format | None = getattr(result.request, "audio_format", None)
        format = asked or usual_format(type(result.request))
        bitrate: int | None = getattr(result.request, "bitrate", None)
        with Names(Wanted(self.folder / f"song.{container(format)}")) as names:
            return write_all(pages, names, format, bitrate)

    def _stored(self, page: Page, path: Path) -> Made:
        kind = kind_in(path) or "application/octet-stream"
        name = f"song-{page.provenance.seed}{path.suffix}"
        file = self.files.add(path, self.owner, name, kind, page.audio.seconds)
        caption, lyrics = page.asked("caption"), page.asked("lyrics")
        return Made(file.id, page.title, sidecar(page), self.parent, caption, lyrics)


def _clamps(result: Result[Songs | Answer]) -> tuple[Count, ...]:
    """One for each note on a field with limits for which another value was used. Seeds that were
    drawn beside those given change none of them."""
    limited = {one.name for one in describe(type(result.request)) if one.limit is not None}
    changed = (one for one in result.notes if one.used is not None and one.field in limited)
    fields = (one.field for one in changed if one.reason.code != SEEDS_DRAWN)
    return tuple(Count(Tally.CLAMPED, field) for field in fields)
