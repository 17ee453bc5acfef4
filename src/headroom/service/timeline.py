"""What happens when in a song: its lines, its sections and its tempo, as far as they are known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from headroom.audio.lrc import TimedText
from headroom.files import parse_json
from headroom.jobs.values import Job

_HEADING = re.compile(r"\s*[\[［【(]\s*([^\[\]［］【】()]{1,60}?)\s*[\]］】)]\s*")
_TEMPO = "bpm"


@dataclass(frozen=True, slots=True)
class Timeline:
    """Lines as they are sung, and sections by the headings of the lyrics, both in seconds; `tempo`
    in beats per minute."""

    lines: tuple[TimedText, ...] = ()
    sections: tuple[TimedText, ...] = ()
    tempo: float | None = None


def timeline(
    job: Job, output: int, lyrics: str, seconds: float, since: tuple[TimedText, ...] = ()
) -> Timeline:
    """The timeline of an output of a job that is done; empty as far as nothing is known. `since`:
    its lines, where the job timed none."""
    song = _song(job.result, output)
    lines = timed_lines(song.get("lines")) or since
    return Timeline(lines, tuple(sections(lyrics, lines, seconds)), _tempo(song))


def sections(lyrics: str, lines: Sequence[TimedText], seconds: float) -> list[TimedText]:
    """Sections from the first line under their heading to the next section. Headings without a
    line that was timed have no section: nobody knows when they begin."""
    starts: list[tuple[str, float]] = []
    heading, next = "", 0
    for text in lyrics.splitlines():
        if found := _HEADING.fullmatch(text):
            heading = found[1]
        elif next < len(lines) and _same(text, lines[next].text):
            if heading:
                starts.append((heading, lines[next].start))
                heading = ""
            next += 1
    ends = [*(start for _, start in starts), seconds][1:]
    return [TimedText(name, start, end) for (name, start), end in zip(starts, ends, strict=True)]


def _same(one: str, other: str) -> bool:
    return bool(other.strip()) and "".join(one.split()) == "".join(other.split())


def _song(result: str | None, output: int) -> dict[str, Any]:
    """What the result of a job tells of one of its songs."""
    match parse_json(result or "{}"):
        case {"output": {"songs": [*songs]}} if len(songs) >= output and isinstance(
            songs[output - 1], dict
        ):
            found: dict[str, Any] = songs[output - 1]
            return found
    return {}


def timed_lines(given: Any) -> tuple[TimedText, ...]:
    """Lines in their JSON form; what has another form is left out."""
    found = []
    for one in given if isinstance(given, list) else ():
        match one:
            case {
                "text": str(text),
                "start": float() | int() as start,
                "end": float() | int() as e,
            }:
                found.append(TimedText(text, start, e))
    return tuple(found)


def _tempo(song: dict[str, Any]) -> float | None:
    match song:
        case {"provenance": {"requests": [*requests], "song": int(number)}} if requests:
            asked = requests[min(number, len(requests) - 1)]
            tempo = asked.get("values", {}).get(_TEMPO)
            if isinstance(tempo, int | float) and isfinite(tempo) and tempo > 0:
                return float(tempo)
    return None
