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
from headroom.memory.tiers import NO_TIERS, Tiers
from headroom.models.base import AnyModel, Setup, Song
from headroom.models.speech_rest import SpeechRest
from headroom.params.describe import TASK, Param, in_role, task_of
from headroom.params.knob import Limit, Role
from headroom.params.note import Note
from headroom.params.read import read
from headroom.params.request import SONGS, Request, Unread
from headroom.settings import Settings
from headroom.weights.catalog import Catalogue, Installed

Given: TypeAlias = Mapping[str, object]
Tasks: TypeAlias = Mapping[str, type[Request]]


@dataclass(frozen=True, slots=True)
class ModelChoice:
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

    def filled(self, values: Given, example: str | Path) -> dict[str, object]:
        """The given fields, with the example's values for all others. Raises InvalidRequest."""


@dataclass(frozen=True, slots=True)
class CodesFormat:
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

    catalogue the released models, and how folders are recognised
    check     raises InvalidCheckpoint if a model states impossible sizes
    offer     what the model in a folder accepts
    """

    catalogue: Catalogue
    check: Callable[[Installed], None]
    offer: Callable[[Installed], Offer]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a tier test needs to know of a family that publishes tiers.

    published  its tiers, typed in independently of `Family.tiers`, which they are to check
    stand_in   a model of released sizes in place of one that is not installed, as
               `module:function`: (name, Setup, with random weights) -> Model
    lm_name    the name of the language model of a size
    texts      the fields of the request that the test takes over
    planned    the fields by which a request has a language model plan its songs, in few words
    core       the part that the tiers convert, and that leaves the card separately
    needed     the parts that every song needs
    exact      the stages whose bytes the plan states exactly, for the songs that `is_exact` accepts
    frames     the length of a song in the model's own frames
    """

    published: Tiers
    stand_in: str
    lm_name: Callable[[str], str]
    texts: tuple[str, ...]
    planned: Given
    core: str
    needed: frozenset[str]
    exact: tuple[str, ...]
    is_exact: Callable[[tuple[Song, ...]], bool]
    frames: Callable[[Song], int]

    def model(self, name: str, setup: Setup, drawn: bool) -> AnyModel:
        """The model in place of one that is not installed; `drawn`: with random weights.

        Raises InvalidRequest for a name that is not released.
        """
        make = cast("Callable[[str, Setup, bool], AnyModel]", import_named(self.stand_in))
        return make(name, setup, drawn)


@dataclass(frozen=True, slots=True)
class OldOrder:
    """What a body of an older REST interface asks for.

    request  a task and fields; `first`: a request for a song sheet that fills what it leaves open
    model    the name of a model; None: the usual one
    notes    values that are not used
    """

    request: Given
    first: Given | None = None
    model: str | None = None
    notes: tuple[Note, ...] = ()


class OldRest(Protocol):
    """Reads the bodies of an older REST interface: names and values in any of its spellings.

    Every method raises InvalidRequest.
    """

    def song(self, body: Given, batch_size: int | None) -> OldOrder:
        """The order in a body that asks for songs; `batch_size`: how many, where the server says
        that, and the body does not."""

    def sheet(self, task: str, body: Given) -> OldOrder:
        """The order in a body that asks for a song sheet, by the task that answers it."""

    def file_field(self, name: str) -> str | None:
        """The field for a file that comes under this name, and its kind; None: there is none."""

    def properties(self) -> Mapping[str, dict[str, object]]:
        """The JSON schema of each name in a body that asks for songs."""

    def examples(self) -> tuple[Given, ...]:
        """The examples, with the names that the interface has for them."""


LanguageSize: TypeAlias = Callable[[str, Settings, Path | None], str | None]
SourceCheck: TypeAlias = Callable[[Request, float], None]
_NO_FIELDS: Mapping[str, Unread] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models.

    requests  the requests it answers, by task; `usual`: the task if none is named
    opens     how to open a model, as `module:function`: (Setup) -> Model
    plans     how to plan a model that may not be installed: (ModelChoice) -> Unopened
    reads     how to make a request from a mapping, if it accepts more spellings than the fields do
    words     the field that takes command-line words without a flag; `describes`: it describes a
              song, so that a mood can join it, and is not spoken as it is
    source_check  raises InvalidRequest for a request that does not suit a source of so many seconds
    language_fields  the fields of its requests that concern the language model
    steps_field  the field with the number of denoising steps; `steps_of`: the steps of a song
    tiers     the tiers it publishes; without any, the policy `published` is as `adaptive`
    rehearses what a tier test needs to know of it, as `module:name` of a Rehearsal
    unread    names that other programs send and that match no field
    old_rest  how to read an older REST interface, as `module:name` of an OldRest
    speech    how to read requests for speech in OpenAI's form, as `module:name` of a SpeechRest
    """

    name: str
    requests: Tasks
    usual: str
    opens: str
    plans: str
    reads: Callable[[Given], Request] | None = None
    words: str | None = None
    describes: bool = False
    examples: Examples | None = None
    folders: ModelFolders | None = None
    codes: CodesFormat | None = None
    language_size: LanguageSize | None = None
    source_check: SourceCheck | None = None
    language_fields: tuple[str, ...] = ()
    steps_field: str | None = None
    steps_of: Callable[[Song], int] | None = None
    tiers: Tiers = NO_TIERS
    rehearses: str | None = None
    unread: Mapping[str, Unread] = field(default_factory=lambda: _NO_FIELDS)
    old_rest: str | None = None
    speech: str | None = None

    @property
    def songs(self) -> Tasks:
        """Those of its requests that are answered with songs."""
        return {task: kind for task, kind in self.requests.items() if kind.makes == SONGS}

    @property
    def usual_request(self) -> type[Request]:
        """The request type of the task used if none is named."""
        return self.requests[self.usual]

    def request(self, values: Given) -> Request:
        """Make a request from what the user wrote. Raises InvalidRequest."""
        if self.reads is not None:
            return self.reads(values)
        return read(self.requests, values, self.usual)

    def fields_for(self, role: Role) -> frozenset[str]:
        """The fields of its requests that have this role."""
        params = (in_role(kind, role) for kind in self.requests.values())
        return frozenset(param.name for param in params if param is not None)

    def song(self, values: Given) -> Request:
        """The same, for songs only. Raises InvalidRequest for a task that makes none."""
        return self.only_songs(self.request(values))

    def only_songs(self, request: Request) -> Request:
        """The request. Raises InvalidRequest for a task that makes no songs."""
        if request.makes != SONGS:
            raise InvalidRequest(TASK, task_of(request), "one of " + ", ".join(self.songs))
        return request

    def words_of(self, words: Sequence[str]) -> str:
        """The field that takes words without a flag. Raises InvalidRequest if there is none."""
        if self.words is None:
            raise InvalidRequest(
                "words", " ".join(words), f"flags: {self.name} takes no other words"
            )
        return self.words

    def open(self, setup: Setup) -> AnyModel:
        """Open a model. Its module is imported now; its weights are not loaded."""
        # A family takes only its own requests and songs; the engine passes it no others.
        return cast("Callable[[Setup], AnyModel]", import_named(self.opens))(setup)

    def plan(self, setup: ModelChoice) -> Unopened:
        """Plan a model without opening it. Raises InvalidRequest and InvalidCheckpoint."""
        return cast("Callable[[ModelChoice], Unopened]", import_named(self.plans))(setup)

    def speech_rest(self) -> SpeechRest:
        """Reads requests for speech. Raises InvalidRequest for a family that does not speak."""
        if self.speech is None:
            raise InvalidRequest("family", self.name, "a family that speaks")
        return cast("SpeechRest", import_named(self.speech))

    def rehearsal(self) -> Rehearsal:
        """What a tier test needs to know. Raises InvalidRequest for a family without tiers."""
        if self.rehearses is None:
            raise InvalidRequest("family", self.name, "a family that publishes tiers")
        return cast("Rehearsal", import_named(self.rehearses))


def import_named(place: str) -> object:
    """The object that `module:name` names; the module is imported now."""
    module, _, name = place.partition(":")
    value: object = getattr(importlib.import_module(module), name)
    return value
