"""The interface every model family implements, and the values that cross it.

A family declares which requests it answers, composes songs from them, states what they need, and
renders them with a Run. `examples/tone_model` is the smallest one. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from headroom.audio.lrc import Timed, lrc
from headroom.errors import InvalidRequest
from headroom.hardware.machine import DType, Machine
from headroom.memory.footprint import Footprint
from headroom.params.clamp import Note
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.params.words import WHOLE, whole
from headroom.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from headroom.audio.wave import Audio
    from headroom.device import Device
    from headroom.runtime.compile_choice import CompileChoice
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
    def batch_size(self) -> int:
        """Number of songs requested."""

    @property
    def songs(self) -> int:
        """Number of songs that will be made: the batch size, or the number of seeds if larger."""


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
    lm_backend  the loop that writes its codes, as named by `headroom.lm.backend`
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
    lm_backend: str = "pt"
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


@dataclass(frozen=True, slots=True)
class SheetWish:
    """A text that a language model is asked to write.

    act    understand (codes), inspire (a line of text), or format (a caption and lyrics)
    text   the codes, the line, or the caption
    given  values that it must contain, by the field names of a song sheet
    penalty      makes tokens that were already written less likely; 1: no effect
    constrained  whether the output is kept to the form of a song sheet

    Sampling options that are None take the family's defaults.
    """

    act: str
    text: str
    lyrics: str = ""
    instrumental: bool = False
    given: Mapping[str, object] = field(default_factory=dict)
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    penalty: float | None = None
    constrained: bool = True

    def __post_init__(self) -> None:
        """Raise InvalidRequest for a text with half a character in it, which no tokenizer takes."""
        for name, value in {"text": self.text, "lyrics": self.lyrics, **self.given}.items():
            if isinstance(value, str) and whole(value) != value:
                raise InvalidRequest(name, value, WHOLE)


@dataclass(frozen=True, slots=True)
class SongSheet:
    """A language model's description of a song; None: the field is not known."""

    caption: str
    lyrics: str
    bpm: int | None
    keyscale: str | None
    timesignature: str | None
    language: str | None
    duration: int | None
    genres: str | None
    instrumental: bool
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """How well codes fit what was asked, from 0 to 1: each part, and their weighted mean.

    information  nats per token that the codes tell about a text
    notes        what differs from the request
    """

    parts: Mapping[str, float]
    reward: float
    information: Mapping[str, float]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Timestamps:
    """When each line of a song, and each token of its lyrics, is sung, in order.

    score  how well the attention follows the words, 0 to 1; only if the score alone was asked for
    """

    lines: tuple[Timed, ...]
    tokens: tuple[Timed, ...] = ()
    notes: tuple[Note, ...] = ()
    score: float | None = None

    @property
    def lrc(self) -> str:
        """The lines in the LRC format of music players; empty if there are no sung lines."""
        return lrc(self.lines)


class Task(Protocol):
    """Work for a language model: a frozen value of the family's own type."""

    @property
    def longest(self) -> Request:
        """The request for the longest song that this work may lead to."""


T = TypeVar("T", bound=Task)


@runtime_checkable
class Speaker(Protocol):
    """A model with language models, one of which is in use at a time."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The language models to choose from, the preferred one first. Raises WeightsMissing if the
        one asked for is not installed, and InvalidCheckpoint.
        """

    def replaced_by(self, language: str) -> tuple[str, ...]:
        """The parts that must be reloaded before this one is used. Changes nothing."""

    def use(self, language: str) -> None:
        """Use this language model from now on, and release what it replaces."""


@runtime_checkable
class Thinker(Speaker, Protocol[T]):
    """A model whose language model plans a song before it is rendered."""

    def task(
        self, request: Request, seeds: tuple[int, ...], most_seconds: float, language: str
    ) -> tuple[Footprint, T]:
        """What a request that asks for a language model needs, and the work itself."""

    def think(self, task: T, run: Run) -> Thought:
        """Do the work. All of it runs inside `run.stage`."""


A = TypeVar("A")


@runtime_checkable
class Writer(Speaker, Protocol[A]):
    """A model whose language model writes song sheets."""

    def writing(self, wish: SheetWish, most_seconds: float, language: str) -> tuple[Footprint, A]:
        """What a wish needs, and the work itself. Raises InvalidRequest and WeightsMissing."""

    def write(self, wish: SheetWish, asked: A, run: Run) -> SongSheet:
        """Do the work. All of it runs inside `run.stage`."""

    def scoring(self, wish: SheetWish, language: str) -> tuple[Footprint, object]:
        """What scoring codes (`text`) against lyrics and `given` needs, and the work itself."""

    def score(self, task: object, run: Run) -> Score:
        """Do the work."""

    def hearing(self, path: Path) -> tuple[Footprint, tuple[Song, ...]]:
        """What turning a recording into codes needs, and the songs that stand for the recording."""

    def hear(self, songs: tuple[Song, ...], run: Run) -> str:
        """The codes of a recording, as text."""


@runtime_checkable
class Timer(Protocol[A]):
    """A model that can tell when the words of a song it made are sung."""

    def timing(self, song: Song, kept: Mapping[str, Tensor]) -> A:
        """The work for a song; `kept` holds what rendering kept for this song."""

    def timing_footprint(self, asked: A) -> Footprint:
        """What the work needs."""

    def time(self, asked: A, run: Run) -> Timestamps:
        """Do the work. All use of parts is inside `run.stage`."""
