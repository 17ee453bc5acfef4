"""The engine's access to the installed language models, one of which is in use at a time."""

from __future__ import annotations

from functools import cached_property

from headroom.errors import InvalidFile, InvalidRequest, WeightsMissing
from headroom.hardware.machine import DType
from headroom.memory.footprint import Footprint
from headroom.models.acestep.cost.lm_cost import Thinking
from headroom.models.acestep.cost.lm_cost import footprint as thinking_footprint
from headroom.models.acestep.language.folder import Language, find_languages, read_genres
from headroom.models.acestep.language.lm_planning import think
from headroom.models.acestep.language.lm_sizes import BUNDLED as BUNDLED
from headroom.models.acestep.language.scoring import ScoreTask, score
from headroom.models.acestep.language.sheet_writing import (
    Asked,
    score_task,
    song_sheet,
    text_task,
    write_text,
)
from headroom.models.acestep.language.song_task import SongTask, song_task
from headroom.models.acestep.networks.component_names import LANGUAGE_MODEL
from headroom.models.acestep.requests.songs import AnyPlanned
from headroom.models.base import Score, Setup, SheetWish, SongSheet, Thought
from headroom.params.request import Request
from headroom.runtime.run import Run
from headroom.settings import Settings
from headroom.weights import catalog


class LanguageActs:
    """The part of a model that plans songs and writes sheets. Work is prepared for one of the
    language models; `use` selects that one before the work is done.
    """

    _setup: Setup
    _in_use = ""
    bundled: bool
    dtype: DType

    @cached_property
    def _languages(self) -> dict[str, Language]:
        setup = self._setup
        dirs = catalog.checkpoint_dirs(setup.settings, setup.checkpoint_dir)
        items = catalog.installed(dirs, BUNDLED)
        found = find_languages(items, setup.lm, setup.lms, self.bundled)
        genres = _genres_of(setup.settings)
        return {one.name: Language(one.name, one.folder, self.dtype, genres) for one in found}

    @property
    def languages(self) -> tuple[str, ...]:
        """The language models to choose from, the preferred one first. Raises WeightsMissing if the
        one asked for is not installed, and InvalidCheckpoint.
        """
        return tuple(self._languages)

    def replaced_by(self, language: str) -> tuple[str, ...]:
        """The parts that must be reloaded before this one is used."""
        return (LANGUAGE_MODEL,) if self._in_use not in ("", language) else ()

    def use(self, language: str) -> None:
        """Use this language model from now on."""
        self._in_use = language

    @property
    def _at_work(self) -> Language:
        """The one in use; the first, if none was chosen."""
        return self._language(self._in_use or next(iter(self._languages), ""))

    def _language(self, name: str) -> Language:
        if name not in self._languages:
            how = f"fetch one with `acestep models download {catalog.USUAL_LM}`"
            setup = self._setup
            places = catalog.checkpoint_dirs(setup.settings, setup.checkpoint_dir)
            raise WeightsMissing(name or "a planner language model", [str(p) for p in places], how)
        return self._languages[name]

    def _thinks(self, cost: Thinking, language: str) -> Footprint:
        known = self._language(language)
        return thinking_footprint(cost, known.config, known.dtype, self._setup.lm_backend)

    # --- songs ---------------------------------------------------------------------------

    def task(
        self, request: Request, seeds: tuple[int, ...], most_seconds: float, language: str
    ) -> tuple[Footprint, SongTask]:
        """What a request that asks for a language model needs, and the work itself."""
        assert isinstance(request, AnyPlanned)
        layout = self._setup.settings.lm_prompt
        task = song_task(request, seeds, most_seconds, self._language(language), layout)
        return self._thinks(task.cost, language), task

    def think(self, task: SongTask, run: Run) -> Thought:
        """Do the work."""
        return think(task, self._at_work, run, self._setup.lm_backend)

    # --- texts ---------------------------------------------------------------------------

    def writing(
        self, wish: SheetWish, most_seconds: float, language: str
    ) -> tuple[Footprint, Asked]:
        """What a wish needs, and the work itself. Raises InvalidRequest and WeightsMissing."""
        asked = text_task(wish, most_seconds, self._language(language))
        return self._thinks(asked.task.cost, language), asked

    def write(self, wish: SheetWish, asked: Asked, run: Run) -> SongSheet:
        """Do the work."""
        return song_sheet(wish, write_text(asked.task, self._at_work, run), asked.notes)

    def scoring(self, wish: SheetWish, language: str) -> tuple[Footprint, object]:
        """What scoring codes against lyrics and a sheet needs, and the work itself."""
        known = self._language(language)
        task = score_task(wish, known)
        return self._thinks(task.cost(known), language), task

    def score(self, task: object, run: Run) -> Score:
        """Do the work."""
        assert isinstance(task, ScoreTask)
        return score(task, self._at_work, run)


def _genres_of(settings: Settings) -> tuple[str, ...]:
    """The genres in the file that the settings name. Raises InvalidRequest for an unusable file."""
    path = settings.genres_file
    if path is None:
        return ()
    try:
        return read_genres(path)
    except InvalidFile as error:
        allowed = f"a file with a line for each choice of genres (it {error.why})"
        raise InvalidRequest(settings.spelt("genres_file"), str(path), allowed) from error
