"""What is known of a model family before any model is opened: its name, requests and capabilities.

Commands and the profiler know families only through this. A capability that a family leaves None is
missing, and the command that needs it reports that. No torch.
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
    """The model asked for: its name, where model folders are, and the settings in force."""

    model: str | None
    checkpoint_dir: Path | None
    settings: Settings


class Unopened(Protocol):
    """A model that is planned without being opened: a released one, installed or not, or a folder.

    It gives the same answers as the opened model.
    """

    @property
    def name(self) -> str:
        """The model's public name."""

    @property
    def folder(self) -> Path | None:
        """The folder whose sizes the plan uses; None: the published sizes."""

    def describe(self) -> str:
        """Its name, and the source of the sizes that the plan uses."""

    def limits(self, request: Request) -> Mapping[str, Limit]:
        """Limits tighter than those of the request's own fields."""

    def compose(self, request: Request, machine: Machine) -> tuple[Song, ...]:
        """The songs of a request; their seeds do not affect what they need."""

    def seconds(self, song: Song) -> float:
        """The length of a song in seconds."""

    def footprint(self, songs: tuple[Song, ...], dtype: DType) -> Footprint:
        """What rendering them in one pass needs."""

    def languages(self, named: str | None, sizes: tuple[str, ...]) -> tuple[str, ...]:
        """The language models to choose from, the preferred one first: `sizes` are the policy's,
        `named` is the one asked for by name.
        """

    def planning(
        self, request: Request, songs: tuple[Song, ...], language: str, backend: str, dtype: DType
    ) -> Footprint:
        """What a language model needs to plan these songs before they are rendered."""


@dataclass(frozen=True, slots=True)
class OfModel:
    """A model that has no weights and no language model, and therefore plans for itself."""

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
        """The example used if none is named."""

    def fields(self, example: str | Path) -> dict[str, object]:
        """The task and the checked fields of an example. Raises InvalidRequest."""

    def filled(self, said: Given, example: str | Path) -> dict[str, object]:
        """The given fields, with the example's values for all others. Raises InvalidRequest."""


@dataclass(frozen=True, slots=True)
class AudioCodes:
    """Audio codes as text: parse them, write them, how many different codes there are, and the
    codes of a song.
    """

    read: Callable[[str], list[int]]
    text: Callable[[Sequence[int]], str]
    count: int
    of: Callable[[Song], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a model accepts: its tasks, and its fields by name with its own limits and defaults."""

    tasks: Tasks
    fields: Mapping[str, Param]


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """The model folders of a family that has weights.

    bundled   the folder of models that come with the program
    check     raises InvalidCheckpoint if a model states impossible sizes
    offer     what the model in a folder accepts
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

    requests  the requests it answers, by task; `usual`: the task if none is named
    opens     how to open a model, as `module:function`: (Setup) -> Model
    plans     how to plan a model that may not be installed: (Wanted) -> Unopened
    reads     how to make a request from a mapping, if it accepts more spellings than the fields do
    words     the field that takes command-line words without a flag
    source_check  raises InvalidRequest for a request that does not suit a source of so many seconds
    language_fields  the fields of its requests that concern the language model
    calm      the temperature a language model samples with when it describes codes
    steps_field  the field with the number of denoising steps; `steps_of`: the steps of a song
    unread    names that other programs send and that match no field
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
        """The request type of the task used if none is named."""
        return self.requests[self.usual]

    def request(self, given: Given) -> Request:
        """Make a request from what the user wrote. Raises InvalidRequest."""
        if self.reads is not None:
            return self.reads(given)
        return read(self.requests, given, self.usual)

    def words_of(self, said: Sequence[str]) -> str:
        """The field that takes words without a flag. Raises InvalidRequest if there is none."""
        if self.words is None:
            raise InvalidRequest(
                "words", " ".join(said), f"flags: {self.name} takes no other words"
            )
        return self.words

    def open(self, setup: Setup) -> AnyModel:
        """Open a model. Its module is imported now; its weights are not loaded."""
        # A family takes only its own requests and songs; the engine passes it no others.
        return cast("Callable[[Setup], AnyModel]", named(self.opens))(setup)

    def plan(self, wanted: Wanted) -> Unopened:
        """Plan a model without opening it. Raises InvalidRequest and InvalidCheckpoint."""
        return cast("Callable[[Wanted], Unopened]", named(self.plans))(wanted)


def named(place: str) -> object:
    """The object that `module:name` names; the module is imported now."""
    module, _, name = place.partition(":")
    found: object = getattr(importlib.import_module(module), name)
    return found
