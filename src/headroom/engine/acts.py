"""What an engine does with a language model alone: song sheets written, recordings heard."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from headroom.device import Device
from headroom.engine.limits import caps_of
from headroom.engine.terms import first_plan
from headroom.errors import InvalidRequest
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Footprint
from headroom.memory.limits import Terms
from headroom.memory.limits import limits as in_force
from headroom.memory.plan import Wishes
from headroom.memory.planner import plan as make_plan
from headroom.models.base import AnyModel, Score, SheetWish, SongSheet, Writer
from headroom.runtime.events import Stop, Tell, never, tell_nobody
from headroom.runtime.pool import Pool
from headroom.runtime.recovery import Ladder
from headroom.runtime.run import Run
from headroom.settings import Settings

R = TypeVar("R")
LONGEST = 600.0  # s: what no language model goes beyond


class Acts:
    """The half of an engine that makes no songs; `Engine` holds what it works with."""

    device: Device
    family: str
    machine: Machine
    settings: Settings
    terms: Terms
    _wishes: Wishes
    _working: threading.Lock

    @property
    def model(self) -> AnyModel:
        """The model."""
        raise NotImplementedError

    @property
    def _pool(self) -> Pool:
        raise NotImplementedError

    def _now(self) -> Machine:
        raise NotImplementedError

    def _after(self) -> None:
        raise NotImplementedError

    def _pinned(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def write(
        self, wish: SheetWish, on_event: Tell = tell_nobody, cancel: Stop = never
    ) -> SongSheet:
        """A text of the language model: what codes mean, a song out of a line, one said better.

        Raises InvalidRequest, DoesNotFit, Cancelled, and WeightsMissing without the model.
        """
        writer = self._writer
        asked = writer.writing(wish, self._longest_with_lm)

        def work(run: Run) -> SongSheet:
            return writer.write(wish, asked, run)

        return self._act(writer.writing_footprint(asked), work, on_event, cancel)

    def score(self, wish: SheetWish, on_event: Tell = tell_nobody, cancel: Stop = never) -> Score:
        """How well codes (the wish's `text`) fit lyrics and what is given. Raises as `write`."""
        writer = self._writer
        needs, task = writer.scoring(wish)

        def work(run: Run) -> Score:
            return writer.score(task, run)

        return self._act(needs, work, on_event, cancel)

    def hear(self, path: str | Path, on_event: Tell = tell_nobody, cancel: Stop = never) -> str:
        """The audio codes of a recording, as text. Raises InvalidSource, DoesNotFit, Cancelled."""
        writer = self._writer
        needs, songs = writer.hearing(Path(path))

        def work(run: Run) -> str:
            return writer.hear(songs, run)

        return self._act(needs, work, on_event, cancel)

    @property
    def has_language_model(self) -> bool:
        """Whether a language model is here to think and write. Raises what opening it raises."""
        return isinstance(self.model, Writer) and self.model.writes

    @property
    def _writer(self) -> Writer[object]:
        if not isinstance(self.model, Writer):
            raise InvalidRequest("family", self.family, "a family with a language model")
        return self.model

    @property
    def _longest_with_lm(self) -> float:
        """Seconds of the longest song, where a language model plans it."""
        found = in_force(self.terms, True, *caps_of(self.settings)).get("duration")
        return LONGEST if found is None else min(found.maximum, LONGEST)

    def _act(self, needs: Footprint, work: Callable[[Run], R], on_event: Tell, cancel: Stop) -> R:
        """Work that makes no song, planned and carried out as any other."""
        with self._working, self._pinned():
            found, wishes, _ = first_plan(
                needs, self.machine, self.terms, self._wishes, self.settings
            )
            now = self._now()
            if now.budget < found.peak:
                found = make_plan(needs, now, wishes)
            ladder = Ladder(needs, now, wishes)
            try:
                return work(Run(found, self._pool, self.device, on_event, cancel, ladder))
            finally:
                self._after()
