"""LRC: lines of text with the minute and second each is sung, as players show them. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headroom.terminal import visible

ENDING = ".lrc"


@dataclass(frozen=True, slots=True)
class Timed:
    """Some words, and the seconds of the song in which they are sung."""

    text: str
    start: float
    end: float


def lrc(lines: Iterable[Timed]) -> str:
    """`[mm:ss.xx]text`, a line each, control characters made visible; nothing for no lines."""
    return "".join(f"{stamp(line.start)}{visible(line.text)}\n" for line in lines)


def stamp(seconds: float) -> str:
    """A time to the nearest hundredth: `[03:07.25]`."""
    hundredths = round(seconds * 100)
    return f"[{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}]"
