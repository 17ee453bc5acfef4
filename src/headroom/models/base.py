"""The interface every model family implements, and the values that cross it.

A family declares which requests it answers, composes songs from them, states what they need, and
renders them with a Run. `examples/tone_model` is the smallest one. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from headroom.hardware.machine import DType, Machine
from headroom.memory.footprint import Footprint
from headroom.models.outputs import Answer, Timestamps
from headroom.params.clamp import Note
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from headroom.audio.wave import Audio
    from headroom.device import Device
    from headroom.runtime.compile_choice import CompileChoice
    from headroom.runtime.events import ActName
    from headroom.runtime.run import Run


class Song(Protocol):
    """A song with every decision made: a frozen value of the family's own type."""

    @property
    def seed(self) -> int:
        """The seed of its noise."""


@runtime_checkable
class Seeded(Protocol):
    """The fields that make songs reproducible; every request has them besides its own."""

    @property
    def seed(self) -> int | None:
        """The seed of the only, or first, song; None: drawn at random."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed for each song, instead of `seed`."""

    @property
    def songs(self) -> int:
        """Number of songs that will be made: that requested, or the number of seeds if larger."""


@runtime_checkable
class Planned(Protocol):
    """A request that can ask for a language model to plan its songs first."""

    @property
    def asks(self) -> str | None:
        """The field that asks for planning; None: it is not asked for, or nothing is open."""

    def unasked(self) -> Request:
        """The same request, without asking for planning."""


@runtime_checkable
class OfUsualLength(Protocol):
    """A request for which the family chooses the song's length when the user gives none."""

    @property
    def usual_seconds(self) -> float | None:
        """That length in seconds; None: something else decides it."""


R = TypeVar("R", bound=Request, contravariant=True)
S = TypeVar("S", bound=Song)
T_co = TypeVar("T_co", bound=Song, covariant=True)
O_co = TypeVar("O_co", covariant=True)
Loader: TypeAlias = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Composed(Generic[T_co]):
    """What a request became: a song for each seed, and what differs from the request."""

    songs: tuple[T_co, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Numerics:
    """What, besides the request, decides the bytes of a model's output."""

    dtype: DType
    compiled: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """The options a family is opened with. Nothing is loaded until a stage leases its parts.

    model       the folder asked for by name; None: the family's best installed model
    checkpoint_dir  where model folders are; None: as the settings say
    dtype       None: a type that is fast on this machine
    compile     decides whether to compile; None: never
    lm          the language model asked for by name; None: the first of `lms` that is installed
    lm_loop  the loop that writes its codes, as named by `headroom.lm.backend`
    settings    those in force; a family never reads the environment itself
    """

    device: Device
    machine: Machine
    model: str | None = None
    checkpoint_dir: Path | None = None
    dtype: DType | None = None
    compile: CompileChoice | None = None
    lm: str | None = None
    lms: tuple[str, ...] = ()
    lm_loop: str = "pt"
    settings: Settings = field(default_factory=Settings)


class Model(Protocol[R, S]):
    """An opened model of a family: R is the type of its requests, S that of its songs."""

    @property
    def name(self) -> str:
        """The model's public name, such as `acestep-v15-turbo`."""

    @property
    def requests(self) -> tuple[type[Request], ...]:
        """The types of request it answers."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What every user of this model should know (for example, that its weights are random)."""

    def limits(self, request: R) -> Mapping[str, Limit]:
        """Limits tighter than those of the request's own fields."""

    def compose(self, request: R, seeds: tuple[int, ...], machine: Machine) -> Composed[S]:
        """Return one song for each seed, in order, deciding everything that the request leaves
        open.

        Raises InvalidRequest and InvalidSource. Deterministic: every seed is in the arguments.
        """

    def together(self, song: S) -> Hashable:
        """A key: songs with equal keys may be rendered in one pass, whatever their lengths.

        All songs of one request have equal keys.
        """

    def footprint(self, songs: tuple[S, ...]) -> Footprint:
        """What rendering these songs in one pass needs; components have the names used in
        `loaders`.
        """

    def loaders(self) -> Mapping[str, Loader]:
        """A loader for each component, which puts it in host memory (or maps it from its file)."""

    def render(self, songs: tuple[S, ...], run: Run) -> tuple[Audio, ...]:
        """The audio of each song, in order. All work is done in `run.stage`."""

    def numerics(self) -> Numerics:
        """The data type it computes in, and whether it is compiled."""

    def folders(self) -> tuple[Path, ...]:
        """The folders its weights are in; empty for a model that has none."""


AnyModel: TypeAlias = Model[Request, Song]


@dataclass(frozen=True, slots=True)
class Thought:
    """What a language model made of a request: one request for each song, with nothing left to
    plan, and notes on what differs from the original request.
    """

    requests: tuple[Request, ...]
    notes: tuple[Note, ...] = ()


class Act(Protocol[O_co]):
    """Work that is fully specified: a frozen value of the family's own type."""

    @property
    def name(self) -> ActName:
        """What it is, for those who are told of its start."""

    @property
    def footprint(self) -> Footprint:
        """What it needs."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What differs from the request."""

    @property
    def language(self) -> str | None:
        """The language model that does it; None: none."""

    @property
    def replaces(self) -> tuple[str, ...]:
        """Components whose place its own components take; they are released before it."""

    def run(self, run: Run) -> O_co:
        """Do the work. All use of components is inside `run.stage`."""


class PlanningAct(Act[Thought], Protocol):
    """The work of a language model that plans songs."""

    @property
    def longest(self) -> Request:
        """The request for the longest song that this work may lead to."""


@runtime_checkable
class Planner(Protocol):
    """A model whose language models can plan a song before it is rendered."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The language models to choose from, the preferred one first. Raises WeightsMissing if the
        one asked for is not installed, and InvalidCheckpoint.
        """

    def planning(
        self, request: Request, seeds: tuple[int, ...], most_seconds: float, language: str
    ) -> PlanningAct:
        """The work for a request that asks for it, done by this language model."""


@runtime_checkable
class Answers(Protocol):
    """A model that answers requests for something other than songs."""

    def alternatives(self, request: Request) -> tuple[str, ...]:
        """Names of the ways to answer it, the preferred one first: the language models that can, or
        one name for the only way. Raises WeightsMissing and InvalidCheckpoint.
        """

    def act(self, request: Request, most_seconds: float, alternative: str) -> Act[Answer]:
        """The work, done this way. `most_seconds`: the longest song allowed here.

        Raises InvalidRequest and InvalidSource.
        """


@runtime_checkable
class Timer(Protocol):
    """A model that can tell when the words of a song it made are sung."""

    def timing(self, song: Song, tensors: Mapping[str, Tensor]) -> Act[Timestamps]:
        """The work for a song; `tensors` holds what rendering kept for this song."""
