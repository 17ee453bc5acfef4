"""What a model family is to everybody else: the protocol, and the values that cross it.

A family says which requests it answers, composes songs from them, states what they need, and
renders them against a Run. `examples/tone_model` is the smallest one. No torch here.
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
    """Everything decided, nothing open: a frozen value of the family's own making."""

    @property
    def seed(self) -> int:
        """The number its noise follows from."""


@runtime_checkable
class Seeded(Protocol):
    """What every request of a family has beside its own fields, so that songs can be repeated."""

    @property
    def seed(self) -> int | None:
        """The seed of the only, or first, song; None: drawn."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """A seed for each song, instead of one."""

    @property
    def batch_size(self) -> int:
        """Songs asked for."""

    @property
    def songs(self) -> int:
        """Songs that will be made: the batch, or the seeds where there are more of them."""


@runtime_checkable
class Planned(Protocol):
    """A request that can ask for a language model to plan its songs first."""

    @property
    def asks(self) -> str | None:
        """The field by which it asks; None: it does not, or leaves nothing open."""

    def unasked(self) -> Request:
        """The same without asking."""


@runtime_checkable
class OfUsualLength(Protocol):
    """A request whose song has a length of the family's choosing where nobody says one."""

    @property
    def usual_seconds(self) -> float | None:
        """That length; None: something else decides."""


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
    """What, beside the request, decides the bytes of a model's output."""

    dtype: DType
    compiled: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """What a family is opened with. Nothing is loaded until a stage leases its parts.

    model       the folder asked for by name; None: the family's best that is installed
    checkpoint_dir  where model folders are; None: what the settings say
    dtype       None: what the machine is fast at
    compile     says whether to compile what is called; None: never
    lm          the language model asked for by name; None: the first of `lms` that is installed
    lm_backend  the loop that writes its codes, as `headroom.lm.backend` names it
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
    """A model family, opened: R is the requests it answers, S its songs."""

    @property
    def name(self) -> str:
        """The model as people name it, such as `acestep-v15-turbo`."""

    @property
    def requests(self) -> tuple[type[Request], ...]:
        """The requests it answers."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What everybody who uses this model should be told (such as: its weights are random)."""

    def limits(self, request: R) -> Mapping[str, Limit]:
        """Limits tighter than those of the request's own fields."""

    def compose(self, request: R, seeds: tuple[int, ...], machine: Machine) -> Composed[S]:
        """A song for each seed, in order. Decides all that the request leaves open.

        Raises InvalidRequest and InvalidSource. Deterministic: every seed is in the arguments.
        """

    def together(self, song: S) -> Hashable:
        """Songs with equal answers may be rendered in one pass, whatever their lengths.

        Those of one request are alike.
        """

    def footprint(self, songs: tuple[S, ...]) -> Footprint:
        """What rendering these songs in one pass needs; components are named as in `loaders`."""

    def loaders(self) -> Mapping[str, Loader]:
        """How to make each component, in host memory (or mapped from its file)."""

    def render(self, songs: tuple[S, ...], run: Run) -> tuple[Audio, ...]:
        """The audio of each song, in order. All work is done in `run.stage`."""

    def numerics(self) -> Numerics:
        """How it computes here."""

    def folders(self) -> tuple[Path, ...]:
        """The folders its weights are in; empty for a model that has none."""


AnyModel: TypeAlias = Model[Request, Song]


@dataclass(frozen=True, slots=True)
class Thought:
    """What a language model made of a request: one for each song, with nothing left to think
    about, and what differs from the request."""

    requests: tuple[Request, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class SheetWish:
    """A text somebody wants of a language model.

    act    understand (codes), inspire (a line of text), or format (a caption and lyrics)
    text   the codes, the line, or the caption
    given  values that must be in it, by the names of a song sheet
    penalty      makes what was written less likely; 1: not at all
    constrained  whether it is kept to the form of a song sheet

    What of the sampling is None is as the family has it.
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
        """Raise InvalidRequest for a text with half a letter in it, which no tokenizer takes."""
        for name, value in {"text": self.text, "lyrics": self.lyrics, **self.given}.items():
            if isinstance(value, str) and whole(value) != value:
                raise InvalidRequest(name, value, WHOLE)


@dataclass(frozen=True, slots=True)
class SongSheet:
    """What a language model says of a song; None: nothing."""

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
    """How well codes fit what was asked, from 0 to 1: each part, and all of them weighed.

    information  nats a token that the codes tell of a text
    notes        what is in force and differs from the request
    """

    parts: Mapping[str, float]
    reward: float
    information: Mapping[str, float]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Timestamps:
    """When the lines of a song are sung, and every token of its lyrics, in order.

    score  how well what was looked at follows the words, 0 to 1, where that alone was asked for
    """

    lines: tuple[Timed, ...]
    tokens: tuple[Timed, ...] = ()
    notes: tuple[Note, ...] = ()
    score: float | None = None

    @property
    def lrc(self) -> str:
        """The lines as players read them; nothing where nobody sings."""
        return lrc(self.lines)


class Task(Protocol):
    """Work for a language model: a frozen value of the family's own making."""

    @property
    def longest(self) -> Request:
        """The request with the longest song that may come of it."""


T = TypeVar("T", bound=Task)


@runtime_checkable
class Speaker(Protocol):
    """A model with language models, of which one at a time is in use."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Those to choose from, the preferred one first. Raises WeightsMissing for one that was
        asked for, and InvalidCheckpoint."""

    def replaced_by(self, language: str) -> tuple[str, ...]:
        """The parts that have to be loaded anew before this one is used. Changes nothing."""

    def use(self, language: str) -> None:
        """From now on this one, what it replaces being released."""


@runtime_checkable
class Thinker(Speaker, Protocol[T]):
    """A model with a language model that plans a song before it is rendered."""

    def task(
        self, request: Request, seeds: tuple[int, ...], most_seconds: float, language: str
    ) -> tuple[Footprint, T]:
        """What a request that asks for a language model needs of it, and the work."""

    def think(self, task: T, run: Run) -> Thought:
        """Do it. All work is done in `run.stage`."""


A = TypeVar("A")


@runtime_checkable
class Writer(Speaker, Protocol[A]):
    """A model with a language model that writes song sheets."""

    def writing(self, wish: SheetWish, most_seconds: float, language: str) -> tuple[Footprint, A]:
        """What a wish needs, and the work. Raises InvalidRequest, WeightsMissing."""

    def write(self, wish: SheetWish, asked: A, run: Run) -> SongSheet:
        """Do it. All work is done in `run.stage`."""

    def scoring(self, wish: SheetWish, language: str) -> tuple[Footprint, object]:
        """What holding codes (`text`) against lyrics and what is `given` needs, and the work."""

    def score(self, task: object, run: Run) -> Score:
        """Do it."""

    def hearing(self, path: Path) -> tuple[Footprint, tuple[Song, ...]]:
        """What turning a recording into codes needs, and what is heard of it."""

    def hear(self, songs: tuple[Song, ...], run: Run) -> str:
        """The codes of a recording, as text."""


@runtime_checkable
class Timer(Protocol[A]):
    """A model that can say when the words of a song it made are sung."""

    def timing(self, song: Song, kept: Mapping[str, Tensor]) -> A:
        """The work for a song; `kept` is its part of what rendering kept."""

    def timing_footprint(self, asked: A) -> Footprint:
        """What the work needs."""

    def time(self, asked: A, run: Run) -> Timestamps:
        """Do it. All work on parts is done in `run.stage`."""
