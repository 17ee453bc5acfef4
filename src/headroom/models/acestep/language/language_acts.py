"""The work of the installed language models: planning songs, writing song sheets, scoring codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

from torch import nn

from headroom.errors import InvalidFile, InvalidRequest, WeightsMissing
from headroom.hardware.machine import DType, writing_dtype
from headroom.memory.footprint import Footprint
from headroom.models.acestep.catalogue import CATALOGUE, LM_KIND, USUAL_LM
from headroom.models.acestep.cost.lm_cost import Thinking, lm_footprint
from headroom.models.acestep.language.folder import Language, find_languages, read_genres
from headroom.models.acestep.language.lm_planning import think
from headroom.models.acestep.language.scoring import ScoreTask, score_codes
from headroom.models.acestep.language.sheet_writing import (
    known_codes,
    sheet_of,
    song_sheet,
    text_task,
    write_text,
)
from headroom.models.acestep.language.song_task import SongTask, song_task
from headroom.models.acestep.networks.encoders import DTYPES
from headroom.models.acestep.rendering.audio_to_codes import EncodeRecording
from headroom.models.acestep.requests.language_requests import AnySheetRequest, HeardFields
from headroom.models.acestep.requests.language_requests import Score as ScoreRequest
from headroom.models.acestep.requests.songs import AnyPlanned
from headroom.models.acestep.text.codes_text import codes_to_text
from headroom.models.base import Act, Loader, Setup, Thought
from headroom.models.outputs import FitScore, SongSheet
from headroom.params.clamp import Note
from headroom.params.request import Request
from headroom.runtime.events import ActName
from headroom.runtime.run import Run
from headroom.settings import Settings
from headroom.weights import catalog


@dataclass(frozen=True, slots=True)
class LanguageWork:
    """What all work of a language model has in common; see `models.base.Act`."""

    speaker: Language
    footprint: Footprint
    replaces: tuple[str, ...]

    @property
    def language(self) -> str:
        """The language model's name, also that of its component."""
        return self.speaker.name


@dataclass(frozen=True, slots=True)
class PlanSongs(LanguageWork):
    """Song sheets and audio codes for a request, written by the loop `backend`."""

    name: ClassVar[ActName] = "think"
    task: SongTask
    backend: str

    @property
    def notes(self) -> tuple[Note, ...]:
        """What differs from the request."""
        return self.task.notes

    @property
    def longest(self) -> Request:
        """The request for the longest song that this work may lead to."""
        return self.task.longest

    def run(self, run: Run) -> Thought:
        """The requests to render, one for each song."""
        return think(self.task, self.speaker, run, self.backend)


@dataclass(frozen=True, slots=True)
class WriteSheet(LanguageWork):
    """A song sheet. `recording`: the one that is described."""

    name: ClassVar[ActName] = "song_sheet"
    request: AnySheetRequest
    most_seconds: float
    recording: EncodeRecording | None
    notes: tuple[Note, ...]

    def run(self, run: Run) -> SongSheet:
        """Write it."""
        codes = codes_for(self.request, self.recording, run)
        task, _ = text_task(self.request, codes, self.most_seconds, self.speaker)
        return song_sheet(self.request, write_text(task, self.speaker, run))


@dataclass(frozen=True, slots=True)
class ScoreCodes(LanguageWork):
    """How well codes, or those of `recording`, fit a sheet."""

    name: ClassVar[ActName] = "score"
    request: ScoreRequest
    recording: EncodeRecording | None
    notes: tuple[Note, ...]

    def run(self, run: Run) -> FitScore:
        """Score them."""
        codes = codes_for(self.request, self.recording, run)
        return score_codes(score_task(self.request, codes, self.speaker), self.speaker, run)


def codes_for(request: Request, recording: EncodeRecording | None, run: Run | None = None) -> str:
    """The codes of a request, as text. Before the run, those of a recording are only counted."""
    if recording is None:
        return request.audio_codes if isinstance(request, HeardFields) else ""
    return codes_to_text((0,) * recording.count) if run is None else recording.run(run).text


def score_task(request: ScoreRequest, codes: str, language: Language) -> ScoreTask:
    """The task of scoring codes against what a request says."""
    return ScoreTask(
        known_codes(codes, language), sheet_of(request, request.caption), request.lyrics
    )


class LanguageActs(ABC):
    """The part of a model that works with language models."""

    _setup: Setup
    bundled: bool
    dtype: DType

    @abstractmethod
    def encoding(self, path: Path) -> EncodeRecording:
        """The work of turning a recording into codes."""

    @cached_property
    def _installed_languages(self) -> tuple[catalog.Installed, ...]:
        setup = self._setup
        dirs = catalog.checkpoint_dirs(setup.settings, setup.checkpoint_dir)
        return tuple(item for item in CATALOGUE.installed(dirs) if item.kind == LM_KIND)

    @cached_property
    def _languages(self) -> dict[str, Language]:
        setup = self._setup
        items = find_languages(self._installed_languages, setup.lm, setup.lms, self.bundled)
        genres = _genres_of(setup.settings)
        dtype = writing_dtype(setup.dtype, setup.machine)
        return {item.name: Language(item.name, item.folder, dtype, genres) for item in items}

    @property
    def languages(self) -> tuple[str, ...]:
        """The language models to choose from, the preferred one first. Raises WeightsMissing if the
        one asked for is not installed, and InvalidCheckpoint.
        """
        return tuple(self._languages)

    def language_loaders(self) -> Mapping[str, Loader]:
        """A loader for each installed language model. Nothing of it is read before it is called:
        who only renders may have none."""
        names = dict.fromkeys(item.name for item in self._installed_languages)
        return {name: partial(self._load_language, name) for name in names}

    def _load_language(self, name: str) -> nn.Module:
        language = self._language(name)
        return language.load(DTYPES[language.dtype])

    def _language(self, name: str) -> Language:
        if name not in self._languages:
            how = f"fetch one with `acestep models download {USUAL_LM}`"
            setup = self._setup
            places = catalog.checkpoint_dirs(setup.settings, setup.checkpoint_dir)
            raise WeightsMissing(name or "a planner language model", [str(p) for p in places], how)
        return self._languages[name]

    def _work(self, cost: Thinking, language: str) -> LanguageWork:
        speaker, backend = self._language(language), self._setup.lm_loop
        needs = lm_footprint(cost, speaker.config, speaker.dtype, backend, speaker.name)
        others = tuple(name for name in self._languages if name != language)
        return LanguageWork(speaker, needs, others)

    # --- songs ---------------------------------------------------------------------------

    def planning(
        self, request: Request, seeds: tuple[int, ...], most_seconds: float, language: str
    ) -> PlanSongs:
        """The work of planning songs."""
        assert isinstance(request, AnyPlanned)
        layout = self._setup.settings.lm_prompt
        task = song_task(request, seeds, most_seconds, self._language(language), layout)
        work = self._work(task.cost, language)
        return PlanSongs(
            work.speaker, work.footprint, work.replaces, task, self._setup.lm_loop
        )  # fmt: skip

    # --- texts ---------------------------------------------------------------------------

    def language_act(
        self, request: AnySheetRequest | ScoreRequest, most_seconds: float, language: str
    ) -> Act[SongSheet] | Act[FitScore]:
        """The work of writing a sheet, or of scoring codes."""
        speaker = self._language(language)
        recording = None
        if isinstance(request, HeardFields) and request.source_audio is not None:
            recording = self.encoding(request.source_audio)
        codes = codes_for(request, recording)
        before = () if recording is None else recording.notes
        if isinstance(request, ScoreRequest):
            work = self._work(score_task(request, codes, speaker).cost(speaker), language)
            needs = (
                work.footprint if recording is None else recording.footprint.then(work.footprint)
            )
            return ScoreCodes(speaker, needs, work.replaces, request, recording, before)
        task, notes = text_task(request, codes, most_seconds, speaker)
        work = self._work(task.cost, language)
        needs = work.footprint if recording is None else recording.footprint.then(work.footprint)
        return WriteSheet(
            speaker, needs, work.replaces, request, most_seconds, recording, (*before, *notes)
        )  # fmt: skip


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
