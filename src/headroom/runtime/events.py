"""Events of a run, as values: all that progress bars, reports and the profiler read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from headroom.audio.wave import Audio
from headroom.lm.token_timing import TokenTiming
from headroom.memory.plan import Plan
from headroom.reasons import Reason

ActName: TypeAlias = Literal["render", "think", "song_sheet", "score", "codes", "timestamps"]


@dataclass(frozen=True, slots=True)
class Queued:
    """The call waits for others on the same card, and its position changed; 1: the next to begin.

    Never told where nothing has to be waited for; no event says that the wait is over.
    """

    position: int


@dataclass(frozen=True, slots=True)
class Started:
    """Work begins under a plan, which has the bytes and the seconds of every stage.

    act  render (songs), think (a language model plans them; the plan includes the rendering
         afterwards), write, score, hear (audio codes) or time (lyric timestamps)
    """

    act: ActName
    plan: Plan


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins; it is planned to use at most `planned` bytes on the device."""

    stage: str
    planned: int


@dataclass(frozen=True, slots=True)
class Loading:
    """A part of `nbytes` bytes is about to be loaded, or moved to the device, for the stage that
    has started. Not told for a part that is in place, nor for one without weights."""

    part: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of a stage (steps, tiles) are finished."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage has ended: bytes planned, peak bytes measured, seconds (`loading` of them loading).

    `counted`: the peak is that of tensors, as in the plan; otherwise it is the growth of the whole
    process, which includes threads and libraries.
    """

    stage: str
    planned: int
    measured: int
    seconds: float
    loading: float = 0.0
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Replanned:
    """The stage ran out of memory and runs again under a tighter plan."""

    stage: str
    why: Reason
    same_output: bool


@dataclass(frozen=True, slots=True)
class Wrote:
    """A language model has finished a text, or the codes of a group of songs."""

    stage: str
    spent: TokenTiming


@dataclass(frozen=True, slots=True)
class AudioReady:
    """Samples of a song as the decoder made them, told only to a `WithAudio` listener.

    song   counts the songs of the call, from 0, in the order of the results
    start  the first of the samples in the song
    audio  [channels, n] on the host, a copy: the listener may keep it

    Each song is told from its first sample to its last, in order and without overlap. This is a
    preview: what needs the whole song is still to be done to it (protection from clipping, fades,
    normalisation, the splice into a source), so samples may exceed ±1 and differ from the result's.
    A stage that ran out of memory begins again, and so do its songs: at `start` 0 after Replanned.
    """

    song: int
    start: int
    audio: Audio


Event: TypeAlias = (
    Queued
    | Started
    | StageStarted
    | Loading
    | Progress
    | StageDone
    | Replanned
    | Wrote
    | AudioReady
)
Tell: TypeAlias = Callable[[Event], None]
Stop: TypeAlias = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class WithAudio:
    """A listener that also hears AudioReady: `engine.generate(request, WithAudio(listen))`. The
    samples are copied to the host for such a listener only."""

    tell: Tell

    def __call__(self, event: Event) -> None:
        self.tell(event)


def numbered(tell: Tell, songs: Mapping[int, int]) -> Tell:
    """The listener, for work whose song i is number `songs[i]` to the listener; it does not hear
    the others."""
    if not isinstance(tell, WithAudio):
        return tell

    def hear(event: Event) -> None:
        if not isinstance(event, AudioReady):
            tell(event)
        elif event.song in songs:
            tell(replace(event, song=songs[event.song]))

    return WithAudio(hear)


def tell_nobody(event: Event) -> None:
    """A listener that ignores every event."""


def never() -> bool:
    """A stop check that never asks to stop."""
    return False
