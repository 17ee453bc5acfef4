"""Makes results of what a service tells of a job that has ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from headroom.audio.formats import Format
from headroom.client.link import Link, reread
from headroom.client.sound import FetchedAudio
from headroom.engine.names import FORMAT, usual_format
from headroom.engine.provenance import restored
from headroom.engine.result import Output, Result, Songs
from headroom.engine.wire import Json, Outcome, error_from, result_from
from headroom.engine.wire.results import SongsMade
from headroom.errors import Cancelled, HeadroomError
from headroom.models.family import Family
from headroom.models.outputs import Timestamps
from headroom.params.request import Request


def result_of(link: Link, view: Json, family: Family, named: Mapping[str, str]) -> Result[Output]:
    """The result in the view of a job that has ended; `named`: the names here of the files that
    the service knows by an id.

    Raises what the work failed with, and Cancelled.
    """
    state = view["state"]
    if state == "failed":
        raise reread(error_from(view["error"]), named)
    if state != "done":
        why = "its time ran out" if state == "expired" else "it was cancelled"
        raise Cancelled(f"the job {view['id']} was not done: {why}")
    told = cast("dict[str, Any]", view["result"])
    outcome = _read(link, {**_renamed(told, named), "output": told.get("output")})
    asked, plan, report = outcome.request, outcome.plan, outcome.report
    if asked is None or plan is None or report is None:
        raise link.failed("tells a result without its request, plan or report")
    request = restored(asked, family.requests.values(), "result")
    output = outcome.output
    if isinstance(output, SongsMade):
        urls = [str(one["url"]) for one in cast("list[Json]", view["outputs"])]
        return Result(request, _songs(link, outcome, output, request, urls), plan, report,
                      outcome.notes)  # fmt: skip
    return Result(request, output, plan, report, outcome.notes)


def _read(link: Link, told: Json) -> Outcome:
    try:
        return result_from(told)
    except HeadroomError as error:
        raise link.failed(f"tells a result of another version ({error})") from error


def _songs(
    link: Link, outcome: Outcome, made: SongsMade, request: Request, urls: list[str]
) -> Songs:
    format = cast("Format | None", getattr(request, FORMAT, None)) or usual_format(type(request))
    stored = format, cast("int | None", getattr(request, "bitrate", None))
    pairs = list(zip(made.songs, urls, strict=True))
    timed = tuple(Timestamps(song.lines) for song in made.songs)
    return Songs(
        audios=tuple(FetchedAudio(link, url, stored, song.seconds) for song, url in pairs),
        songs=(),
        provenance=tuple(song.provenance for song in made.songs),
        kept={},
        thought=outcome.thought,
        timestamps=timed if any(song.lines for song in made.songs) else (),
    )


def _renamed(told: Json, named: Mapping[str, str]) -> Json:
    """The JSON values with the names of this machine in place of the service's ids."""
    text = json.dumps(told)
    for id, name in named.items():
        text = text.replace(id, json.dumps(name)[1:-1])
    renamed: Json = json.loads(text)
    return renamed
