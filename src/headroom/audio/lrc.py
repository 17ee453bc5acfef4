"""LRC files: lyrics with the time at which each line is sung, for players to display. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headroom.terminal import visible

ENDING = ".lrc"


@dataclass(frozen=True, slots=True)
class TimedText:
    """A piece of text, and when it is sung, in seconds from the start of the song."""

    text: str
    start: float
    end: float


def lrc(lines: Iterable[TimedText]) -> str:
    """One line `[mm:ss.xx]text` per item, control characters escaped; empty without items."""
    return "".join(f"{stamp(line.start)}{visible(line.text)}\n" for line in lines)


def stamp(seconds: float) -> str:
    """A time rounded to hundredths of a second: `[03:07.25]`."""
    hundredths = round(seconds * 100)
    return f"[{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}]"
