"""ACE-Step's own REST interface: tasks, their results, song sheets and sound."""

from __future__ import annotations

import json
import random
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest
from fastapi.responses import Response, StreamingResponse
from pydantic import JsonValue

from headroom.engine.wire import Json
from headroom.errors import InvalidRequest, UnknownId
from headroom.files import parse_json
from headroom.jobs.queue import PAGE
from headroom.jobs.texts import MOST_NAME
from headroom.models.family import OldOrder
from headroom.service.callers import Caller
from headroom.service.doors import USUAL_SECONDS, Doors, caller_of, doors_of
from headroom.service.envelope import wrapped
from headroom.service.old.bodies import Body, read_body, read_values
from headroom.service.old.links import AUDIO, id_in, with_ids
from headroom.service.old.results import entry, sheet
from headroom.service.old.tasks import notes_of, old_rest, submit, waited_for
from headroom.service.ranges import sent
from headroom.service.shapes import bytes_of, empty, ok

router = APIRouter(tags=["ACE-Step"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]
_IDS = "a list of task ids, or its JSON text"
_SAMPLES = ("simple_mode", "custom_mode")
_LINK = "the path in the link to a song that an earlier answer had"


@router.post(
    "/release_task",
    responses=ok("OldTask"),
    summary="Ask for songs, as ACE-Step's clients do",
)
async def release_task(http: HttpRequest, doors: Here, caller: Who) -> Json:
    """JSON or a form, under any of the documented names; a form may bring recordings. What is not
    used is told in `extra.notes`. The header Idempotency-Key makes asking twice ask once."""
    rest = old_rest(doors)
    repeat = http.headers.get("idempotency-key")
    async with read_body(http, doors, caller, rest.file_field) as body:
        return await run_sync(_released, doors, caller, body, repeat)


def _released(doors: Doors, caller: Caller, body: Body, repeat: str | None) -> Json:
    rest = old_rest(doors)
    with_ids(doors, caller, body, rest.file_field)
    order = rest.song(body.values, doors.config.settings.batch_size)
    job = submit(doors, caller, order, repeat)
    place = doors.queue.position(job.id, caller.owner) + 1
    data: Json = {"task_id": job.id, "status": "queued", "queue_position": place}
    return wrapped(data, extra=notes_of(doors, order))


@router.post("/query_result", responses=ok("OldResults"), summary="Ask what became of tasks")
async def query_result(http: HttpRequest, doors: Here, caller: Who) -> Json:
    """`task_id_list`: a list of ids, or its JSON text. `result` is the JSON text of a list with an
    object for each song. A task that does not exist has the status 2, and says so."""
    ids = _ids_in(await read_values(http))
    entries = await run_sync(lambda: [entry(doors, caller, id) for id in ids])
    return wrapped(list(entries))


@router.post(
    "/create_random_sample",
    responses=ok("OldSample"),
    summary="Fetch one of the examples",
)
async def create_random_sample(http: HttpRequest, doors: Here, caller: Who) -> Json:
    """Caption, lyrics and metadata to fill in a form with."""
    kind = (await read_values(http)).get("sample_type", _SAMPLES[0])
    if kind not in _SAMPLES:
        raise InvalidRequest("sample_type", kind, "one of " + ", ".join(_SAMPLES))
    examples = await run_sync(old_rest(doors).examples)
    if not examples:
        raise UnknownId("example", str(kind))
    return wrapped(json.loads(json.dumps(dict(random.choice(examples)))))


@router.post(
    "/format_input",
    responses=ok("OldSheet"),
    summary="Have a caption and lyrics rewritten",
)
async def format_input(http: HttpRequest, doors: Here, caller: Who) -> Json:
    """A language model puts them into the form of a song sheet; the answer waits for it."""
    order = old_rest(doors).sheet("format_sample", await read_values(http))
    return await _sheet(http, doors, caller, order)


@router.post(
    "/v1/create_sample",
    responses=ok("OldSheet"),
    summary="Have a song sheet written",
)
async def create_sample(http: HttpRequest, doors: Here, caller: Who) -> Json:
    """`query` says what it is about; the answer waits for the language model."""
    order = old_rest(doors).sheet("create_sample", await read_values(http))
    return await _sheet(http, doors, caller, order)


@router.get("/v1/stats", responses=ok("OldStats"), summary="How many tasks there are")
def stats(doors: Here, caller: Who) -> Json:
    """Tasks of all callers by state, and the mean time of the last ones in seconds."""
    told = doors.queue.stats()
    counts = {
        "queued": told.counts.get("queued", 0),
        "running": told.counts.get("running", 0),
        "succeeded": told.counts.get("done", 0),
    }
    total = sum(told.counts.values())
    jobs: Json = {"total": total, **counts, "failed": total - sum(counts.values())}
    data: Json = {
        "jobs": jobs,
        "queue_size": counts["queued"],
        "queue_maxsize": doors.config.waiting,
        "avg_job_seconds": told.seconds or USUAL_SECONDS,
    }
    return wrapped(data)


@router.get(
    AUDIO,
    response_class=StreamingResponse,
    responses={
        200: bytes_of("audio/*", "The song."),
        206: bytes_of("audio/*", "A part of it."),
        304: empty("It has not changed."),
    },
    summary="Fetch a song",
)
def audio(path: str, http: HttpRequest, doors: Here, caller: Who) -> Response:
    """`path`: as the link in a result has it. It is the id of a file, never a path."""
    id = id_in(path)
    if id is None:
        raise InvalidRequest("path", path, _LINK)
    return sent(doors.files, doors.files.get(id, caller.owner), http.headers)


async def _sheet(http: HttpRequest, doors: Doors, caller: Caller, order: OldOrder) -> Json:
    output = await waited_for(http, doors, caller, order)
    return wrapped(sheet(output), extra=notes_of(doors, order))


def _ids_in(values: dict[str, JsonValue]) -> list[str]:
    """The ids in a body, in order. Raises InvalidRequest."""
    given = values.get("task_id_list", [])
    if isinstance(given, str):
        try:
            given = parse_json(given) if given.strip() else []  # type: ignore[assignment]
        except ValueError as error:
            raise InvalidRequest("task_id_list", given, f"{_IDS} ({error})") from error
    if not isinstance(given, list) or not all(map(_is_id, given)):
        raise InvalidRequest("task_id_list", given, _IDS)
    if len(given) > PAGE:
        raise InvalidRequest("task_id_list", f"{len(given)} ids", f"at most {PAGE}")
    return [str(one) for one in given]


def _is_id(value: object) -> bool:
    """Whether a value may be an id: no database is asked for signs that no id has."""
    return isinstance(value, str) and len(value) <= MOST_NAME and value.isprintable()
