"""What a request that makes no songs gives back. No torch.

The name of each kind is what `Request.makes` says; songs are the kind that needs an engine's types
(`headroom.engine.result.Songs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from headroom.audio.lrc import TimedText, lrc
from headroom.params.clamp import Note


@dataclass(frozen=True, slots=True)
class SongSheet:
    """A language model's description of a song; None: the field is not known."""

    kind: ClassVar[str] = "song_sheet"
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
class FitScore:
    """How well codes fit what was asked, from 0 to 1: each part, and their weighted mean.

    information  nats per token that the codes tell about a text
    notes        what differs from the request
    """

    kind: ClassVar[str] = "score"
    parts: Mapping[str, float]
    reward: float
    information: Mapping[str, float]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Timestamps:
    """When each line of a song, and each token of its lyrics, is sung, in order.

    score  how well the attention follows the words, 0 to 1; only if the score alone was asked for
    """

    kind: ClassVar[str] = "timestamps"
    lines: tuple[TimedText, ...]
    tokens: tuple[TimedText, ...] = ()
    notes: tuple[Note, ...] = ()
    score: float | None = None

    @property
    def lrc(self) -> str:
        """The lines in the LRC format of music players; empty if there are no sung lines."""
        return lrc(self.lines)


@dataclass(frozen=True, slots=True)
class AudioCodes:
    """The audio codes of a recording, `rate` of them a second, and the same as text."""

    kind: ClassVar[str] = "codes"
    codes: tuple[int, ...]
    text: str
    rate: float
    notes: tuple[Note, ...] = ()


Answer: TypeAlias = SongSheet | FitScore | Timestamps | AudioCodes
"""Every kind of output but songs."""
