"""What a model family is before anything of it is opened: a name, requests, and who knows more.

Commands and the profiler know families through this alone. A family says what it has; what it
leaves None it does not have, and the command that needs it says so. No torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeAlias, cast

from headroom.errors import InvalidRequest
from headroom.hardware.machine import DType, Machine
from headroom.memory.footprint import Footprint
from headroom.models.base import AnyModel, Setup, Song
from headroom.params.describe import Param
from headroom.params.knob import Limit
from headroom.params.read import read
from headroom.params.request import Request, Unread
from headroom.settings import Settings
from headroom.weights.catalog import Installed

Given: TypeAlias = Mapping[str, object]
Tasks: TypeAlias = Mapping[str, type[Request]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The model that is meant: its name, where model folders are, and the settings in force."""

    model: str | None
    checkpoint_dir: Path | None
    settings: Settings


class Unopened(Protocol):
    """A model that is planned and not opened: a released one that need not be here, or a folder.

    It states the same as the opened model would.
    """

    @property
    def name(self) -> str:
        """The model as people name it."""

    @property
    def folder(self) -> Path | None:
        """The folder whose sizes are planned with; None: the published sizes."""

    def describe(self) -> str:
        """Its name, and whose sizes are planned with."""

    def limits(self, request: Request) -> Mapping[str, Limit]:
        """Limits tighter than those of the request's own fields."""

    def compose(self, request: Request, machine: Machine) -> tuple[Song, ...]:
        """The songs of a request; their seeds do not matter to what they need."""

    def seconds(self, song: Song) -> float:
        """The length of a song."""

    def footprint(self, songs: tuple[Song, ...], dtype: DType) -> Footprint:
        """What rendering them in one pass needs."""

    def languages(self, named: str | None, sizes: tuple[str, ...]) -> tuple[str, ...]:
        """The language models to choose from, the preferred one first: `sizes` are those of the
        policy, `named` is the one that was asked for by name."""

    def planning(
        self, request: Request, songs: tuple[Song, ...], language: str, backend: str, dtype: DType
    ) -> Footprint:
        """What a language model needs to plan these songs first."""


@dataclass(frozen=True, slots=True)
class OfModel:
    """A family whose models need no weights, planned by its model itself; it has no language
    model."""

    model: AnyModel
    length: Callable[[Song], float]
    folder: Path | None = None

    @property
    def name(self) -> str:
        return self.model.name

    def describe(self) -> str:
        return self.name

    def limits(self, request: Request) -> Mapping[str, Limit]:
        return self.model.limits(request)

    def compose(self, request: Request, machine: Machine) -> tuple[Song, ...]:
        count = getattr(request, "songs", 1)
        return self.model.compose(request, tuple(range(count)), machine).songs

    def seconds(self, song: Song) -> float:
        return self.length(song)

    def footprint(self, songs: tuple[Song, ...], dtype: DType) -> Footprint:
        return self.model.footprint(songs)

    def languages(self, named: str | None, sizes: tuple[str, ...]) -> tuple[str, ...]:
        return ()

    def planning(
        self, request: Request, songs: tuple[Song, ...], language: str, backend: str, dtype: DType
    ) -> Footprint:
        raise ValueError(f"{self.name} has no language model")


class Examples(Protocol):
    """The example requests that come with a family."""

    @property
    def usual(self) -> str:
        """The one that is taken where nobody names another."""

    def fields(self, example: str | Path) -> dict[str, object]:
        """The task and what an example says of it, checked. Raises InvalidRequest."""

    def filled(self, said: Given, example: str | Path) -> dict[str, object]:
        """What was said, and the example where nothing was. Raises InvalidRequest."""


@dataclass(frozen=True, slots=True)
class AudioCodes:
    """Codes of sound as text: those a text holds, the text of codes, how many codes there are, and
    those of a song."""

    read: Callable[[str], list[int]]
    text: Callable[[Sequence[int]], str]
    count: int
    of: Callable[[Song], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a model takes: its tasks, and fields by name with its own limits and defaults."""

    tasks: Tasks
    fields: Mapping[str, Param]


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """A family that has weights.

    bundled   the folder of models that come with the program
    check     raises InvalidCheckpoint where a model states sizes that no model has
    offer     what the model of a folder takes
    """

    bundled: Path
    check: Callable[[Installed], None]
    offer: Callable[[Installed], Offer]


LanguageSize: TypeAlias = Callable[[str, Settings, Path | None], str | None]
SourceCheck: TypeAlias = Callable[[Request, float], None]
_NO_FIELDS: Mapping[str, Unread] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models.

    requests  what it can be asked, by task; `usual`: the task where none is named
    opens     how to open a model, as `module:function`: (Setup) -> Model
    plans     how to plan a model that need not be here: (Wanted) -> Unopened
    reads     how a mapping becomes a request, where it knows more spellings than the fields say
    words     the field that words without a flag are
    source_check  raises InvalidRequest for a request that a source of so many seconds cannot serve
    language_fields  what of its requests is for a language model
    calm      the temperature that a language model draws with where it understands
    steps_field  what of its requests says the steps of denoising; `steps_of`: those of a song
    unread    names that other programs send and no field answers to
    """

    name: str
    requests: Tasks
    usual: str
    opens: str
    plans: str
    reads: Callable[[Given], Request] | None = None
    words: str | None = None
    examples: Examples | None = None
    folders: ModelFolders | None = None
    codes: AudioCodes | None = None
    language_size: LanguageSize | None = None
    source_check: SourceCheck | None = None
    language_fields: tuple[str, ...] = ()
    calm: float | None = None
    steps_field: str | None = None
    steps_of: Callable[[Song], int] | None = None
    unread: Mapping[str, Unread] = field(default_factory=lambda: _NO_FIELDS)

    @property
    def usual_request(self) -> type[Request]:
        """The request of the task that is meant where none is named."""
        return self.requests[self.usual]

    def request(self, given: Given) -> Request:
        """The request somebody wrote. Raises InvalidRequest."""
        if self.reads is not None:
            return self.reads(given)
        return read(self.requests, given, self.usual)

    def words_of(self, said: Sequence[str]) -> str:
        """The field that words without a flag are. Raises InvalidRequest where there is none."""
        if self.words is None:
            raise InvalidRequest(
                "words", " ".join(said), f"flags: {self.name} takes no other words"
            )
        return self.words

    def open(self, setup: Setup) -> AnyModel:
        """A model. Its module is imported now; its weights are not loaded."""
        # A family takes its own requests and songs only; the engine gives it none but those.
        return cast("Callable[[Setup], AnyModel]", named(self.opens))(setup)

    def plan(self, wanted: Wanted) -> Unopened:
        """A model that is planned and not opened. Raises InvalidRequest, InvalidCheckpoint."""
        return cast("Callable[[Wanted], Unopened]", named(self.plans))(wanted)


def named(place: str) -> object:
    """What `module:name` names; the module is imported now."""
    module, _, name = place.partition(":")
    found: object = getattr(importlib.import_module(module), name)
    return found
