"""Engine work that makes no song: texts, scores, audio codes and lyric timestamps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from headroom.engine.desk import Desk
from headroom.engine.limits import caps_of, most_seconds
from headroom.engine.result import Result
from headroom.errors import InvalidRequest
from headroom.memory.footprint import Footprint
from headroom.memory.limits import Terms
from headroom.memory.limits import limits as in_force
from headroom.models.base import (
    AnyModel,
    Score,
    SheetWish,
    SongSheet,
    Speaker,
    Timer,
    Timestamps,
    Writer,
)
from headroom.runtime.events import Stop, Tell, never, tell_nobody
from headroom.runtime.run import Run
from headroom.settings import Settings

R = TypeVar("R")


class Acts(ABC):
    """The methods of an engine for work that makes no song."""

    settings: Settings
    terms: Terms
    family: str
    _desk: Desk
    _language: str | None  # the one used last

    @property
    @abstractmethod
    def model(self) -> AnyModel:
        """The model, opened on first access."""

    def write(
        self, wish: SheetWish, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> SongSheet:
        """A text from the language model: codes described, a song from one line, or a rewrite.

        Raises InvalidRequest, DoesNotFit, Cancelled, and WeightsMissing without the model.
        """
        writer = self._writer
        allowed = in_force(self.terms, True, *caps_of(self.settings))
        name, needs, asked = self._desk.taken(
            writer.languages or ("",),
            lambda one: writer.writing(wish, most_seconds(allowed), one),
        )
        sheet = self._act(needs, on_event, cancel, lambda run: writer.write(wish, asked, run), name)
        return replace(sheet, notes=(*self.terms.notes, *sheet.notes))

    def score(self, wish: SheetWish, on_event: Tell = tell_nobody, cancel: Stop = never) -> Score:
        """How well codes (the wish's `text`) fit the lyrics and metadata. Raises like `write`."""
        writer = self._writer
        name, needs, task = self._desk.taken(
            writer.languages or ("",), lambda one: writer.scoring(wish, one)
        )
        found = self._act(needs, on_event, cancel, lambda run: writer.score(task, run), name)
        return replace(found, notes=(*self.terms.notes, *found.notes))

    def hear(self, path: str | Path, on_event: Tell = tell_nobody, cancel: Stop = never) -> str:
        """The audio codes of a recording, as text. Raises InvalidSource, DoesNotFit, Cancelled."""
        writer = self._writer
        needs, songs = writer.hearing(Path(path))
        return self._act(needs, on_event, cancel, lambda run: writer.hear(songs, run))

    def timestamps(
        self, result: Result, index: int = 0, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> Timestamps:
        """When the lines of a song made here are sung; `index` counts songs from 0.

        Raises InvalidRequest, DoesNotFit, Cancelled.
        """
        if result.provenance[0].model != self.model.name:
            raise InvalidRequest("result", result.provenance[0].model, f"one of {self.model.name}")
        if not 0 <= index < len(result.songs):
            raise InvalidRequest("index", index, f"a song from 0 to {len(result.songs) - 1}")
        kept = {name: rows[index] for name, rows in result.kept.items()}
        return self.time(self._timer.timing(result.songs[index], kept), on_event, cancel)

    def time(self, asked: object, on_event: Tell = tell_nobody, cancel: Stop = never) -> Timestamps:
        """The same for work built by the model's `timing`. Raises like `timestamps`."""
        timer = self._timer
        needs = timer.timing_footprint(asked)
        return self._act(needs, on_event, cancel, lambda run: timer.time(asked, run))

    def timed(self, result: Result, on_event: Tell = tell_nobody, cancel: Stop = never) -> Result:
        """The result with the lyric times of all its songs, which `save` writes beside them."""
        songs = range(len(result.songs))
        found = tuple(self.timestamps(result, i, on_event, cancel) for i in songs)
        notes = dict.fromkeys((*result.notes, *(note for one in found for note in one.notes)))
        return replace(result, timestamps=found, notes=tuple(notes))

    @property
    def _writer(self) -> Writer[object]:
        self._desk.check()
        if not isinstance(self.model, Writer):
            raise InvalidRequest("family", self.family, "a family with a language model")
        return self.model

    @property
    def _timer(self) -> Timer[object]:
        self._desk.check()
        if not isinstance(self.model, Timer):
            raise InvalidRequest("family", self.family, "a family that sings words")
        return self.model

    def _use(self, language: str | None) -> None:
        """Switch to this language model, dropping what another one left loaded. None: no model."""
        if language is None:
            return
        if isinstance(self.model, Speaker):
            for part in self.model.replaced_by(language):
                self._desk.pool.release(part)
            self.model.use(language)
        self._language = language

    def _act(
        self, needs: Footprint, tell: Tell, stop: Stop, work: Callable[[Run], R],
        language: str | None = None,
    ) -> R:  # fmt: skip
        """Plan and carry out work that makes no song, like any other work."""

        def alone() -> R:
            self._use(language)
            planned = self._desk.plan(needs)
            return self._desk.carry_out(planned.whole, planned.ladder, tell, stop, work)[0]

        return self._desk.alone(stop, alone)
