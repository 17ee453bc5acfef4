"""What jobs have told of songs: how well one fits its words, when its lines are sung, and whatever
else a family answers about a recording."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from headroom.audio.lrc import TimedText
from headroom.files import parse_json
from headroom.jobs.library import Library
from headroom.jobs.queue import Queue
from headroom.jobs.songs import Song
from headroom.service.timeline import Timeline, timed_lines, timeline

_LINES = "timestamps"


def answers_about(library: Library, song: Song, owner: str | None = None) -> dict[str, JsonValue]:
    """The newest answer of each kind that a job gave about the song's file, in its usual form."""
    found: dict[str, JsonValue] = {}
    for result in library.told_of(song.file, owner):
        match parse_json(result):
            case {"output": {"kind": str(kind)} as output}:
                found.setdefault(kind, output)
    return found


def timeline_of(
    queue: Queue, library: Library, song: Song, seconds: float, owner: str | None = None
) -> Timeline:
    """When what is sung in a song of this length. Lines that were timed with the song go before
    those that a job has told of it since. Raises UnknownId."""
    told: Any = answers_about(library, song, owner).get(_LINES)
    since: tuple[TimedText, ...] = timed_lines(told["lines"]) if told else ()
    return timeline(queue.get(song.job, owner), song.output, song.lyrics, seconds, since)
