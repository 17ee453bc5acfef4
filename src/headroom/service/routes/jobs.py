"""Jobs: asked for, listed, shown, followed, fetched, cancelled, asked for again."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Annotated, Any, get_args

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import JsonValue

from headroom.audio.formats import FORMATS
from headroom.engine.wire import Json
from headroom.errors import Conflict, InvalidRequest
from headroom.jobs.queue import CURSOR, PAGE, PRIORITIES
from headroom.jobs.values import Asked, Job, State
from headroom.params.describe import TASK
from headroom.service.answers import Refusal
from headroom.service.callers import ADMIN, Caller
from headroom.service.doors import Doors, caller_of, doors_of
from headroom.service.export import safe
from headroom.service.models import same_as
from headroom.service.orders import check_files, read_object, read_order
from headroom.service.ranges import sent, served
from headroom.service.renditions import BITRATES, checked, is_stored
from headroom.service.shapes import bytes_of, empty, events_of, json_of
from headroom.service.stream import last_event, stream
from headroom.service.views import job_view
from headroom.service.work import Work, files_of

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]
_STATES: tuple[State, ...] = get_args(State)
_ANY_STATES: dict[str, JsonValue] = {"items": {"enum": list(_STATES)}}
_PRIORITY: dict[str, JsonValue] = {"minimum": PRIORITIES[0], "maximum": PRIORITIES[-1]}
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: json_of("Job", "The job, which is kept from now on.")
}
_ANSWERED: dict[int | str, dict[str, Any]] = {
    200: json_of("Job", "A job that is done, with songs that there were."), **_ACCEPTED
}  # fmt: skip
_FORMATS: dict[str, JsonValue] = {"enum": list(FORMATS)}
_BITRATES: dict[str, JsonValue] = {"minimum": BITRATES[0], "maximum": BITRATES[-1]}
_BYTES = "The bytes, of the type of the file."


@router.post("", status_code=202, responses=_ANSWERED, summary="Ask for something to be made")
async def submit(
    http: HttpRequest,
    doors: Here,
    caller: Who,
    family: str | None = None,
    model: str | None = None,
    priority: Annotated[int, Query(json_schema_extra=_PRIORITY)] = 0,
    within: Annotated[float | None, Query(json_schema_extra={"exclusiveMinimum": 0})] = None,
    reuse: bool = False,
) -> Response:
    """The body is a request of the family; `Idempotency-Key` makes asking twice ask once.

    `within`: seconds after which the job is given up. A `priority` above 0 needs the scope admin.
    `reuse`: where the same songs were made before, for the same key (admin: for any), the job is
    done at once, with those; `reused` names their job. Only for requests with all their seeds.
    """
    given = await read_object(http)
    repeat = http.headers.get("idempotency-key")
    work, request = read_order(given, family or doors.config.family, model)
    if priority > 0 and ADMIN not in caller.scopes:
        raise Refusal(
            403, "no_right", "this priority needs the scope admin.", "priority", "0 or less"
        )
    asked = Asked(work.model_dump_json(), caller.key, repeat, priority, within, files_of(request))

    def accept() -> Response:
        check_files(request, doors.files, caller.key)
        word = same_as(doors, work, request) if reuse else None
        there = doors.stored.answered(asked, word, caller.owner) if word else None
        return _accepted(doors, caller, there or doors.queue.submit(asked, caller.waiting))

    return await run_sync(accept)


@router.get("", responses={200: json_of("Jobs")}, summary="List jobs, the newest first")
def jobs(
    doors: Here,
    caller: Who,
    cursor: Annotated[str | None, Query(json_schema_extra={"pattern": CURSOR})] = None,
    state: Annotated[list[str] | None, Query(json_schema_extra=_ANY_STATES)] = None,
    most: Annotated[int, Query(json_schema_extra={"minimum": 1, "maximum": PAGE})] = PAGE,
) -> dict[str, object]:
    """`next` is the cursor of the page behind this one; null for the last page."""
    if not 1 <= most <= PAGE:
        raise InvalidRequest("most", most, f"1 to {PAGE}")
    for one in state or ():
        if one not in _STATES:
            raise InvalidRequest("state", one, "one of " + ", ".join(_STATES))
    states = None if state is None else [one for one in _STATES if one in state]
    page = doors.queue.page(caller.owner, states, cursor, most)
    return {"jobs": [job_view(job, doors.hidden) for job in page.jobs], "next": page.next}


@router.get("/{id}", responses={200: json_of("Job")}, summary="Show a job")
def job(id: str, doors: Here, caller: Who) -> Response:
    """Its state, its result or error, and its outputs."""
    return JSONResponse(_shown(doors, caller, id))


@router.delete(
    "/{id}",
    responses={
        200: json_of("Job", "It is cancelled."),
        202: json_of("Job", "It will stop."),
        204: empty("It is deleted."),
    },
    summary="Cancel a job, or delete one that has ended",
)
def delete(id: str, doors: Here, caller: Who) -> Response:
    """A job that waits is cancelled at once (200); a running one is asked to stop (202), which it
    does after the step it is at; one that had ended is deleted with its outputs (204)."""
    before = doors.queue.get(id, caller.owner)
    if before.has_ended:
        doors.library.delete(id, caller.owner)
        return Response(status_code=204)
    after = doors.queue.cancel(id, caller.owner)
    return JSONResponse(_shown(doors, caller, id), 200 if after.has_ended else 202)


@router.post(
    "/{id}/cancel",
    responses={
        200: json_of("Job", "It has ended."),
        202: json_of("Job", "It will stop."),
    },
    summary="Cancel a job",
)
def cancel(id: str, doors: Here, caller: Who) -> Response:
    """As DELETE does with a job that has not ended; one that has ended stays as it is (200)."""
    after = doors.queue.cancel(id, caller.owner)
    return JSONResponse(_shown(doors, caller, id), 200 if after.has_ended else 202)


@router.post("/{id}/replay", status_code=202, responses=_ACCEPTED, summary="Ask for the same again")
def replay(id: str, http: HttpRequest, doors: Here, caller: Who) -> Response:
    """A new job with the request of one that has ended, as it was carried out: with its seeds."""
    before = doors.queue.get(id, caller.owner)
    if not before.has_ended:
        raise Conflict("job", id, "has not ended")
    work = Work.of(before.request)
    again, request = read_order(_carried_out(before, work), work.family, work.model)
    check_files(request, doors.files, caller.key)
    repeat = http.headers.get("idempotency-key")
    inputs = files_of(request)
    asked = Asked(again.model_dump_json(), caller.key, repeat, inputs=inputs, again=id)
    return _accepted(doors, caller, doors.queue.submit(asked, caller.waiting))


@router.get(
    "/{id}/events",
    responses={
        200: events_of("The events behind `Last-Event-ID`, and then `end`."),
        204: empty("The job has ended, and so had the stream."),
    },
    summary="Follow a job",
    response_class=StreamingResponse,
)
async def events(id: str, http: HttpRequest, doors: Here, caller: Who) -> Response:
    """Server-sent events; `Last-Event-ID` resumes behind an event. The last event is `end`, with
    the job as `GET /v1/jobs/{id}` shows it; who resumes behind that gets 204."""
    after, ended = last_event(http.headers.get("last-event-id"))
    first = await run_sync(doors.queue.story, id, after, caller.owner)
    if ended and first.job.has_ended:
        return Response(status_code=204)
    return StreamingResponse(
        stream(doors, id, caller.owner, first, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get(
    "/{id}/outputs/{number}",
    responses={
        200: bytes_of("*/*", _BYTES),
        206: bytes_of("*/*", _BYTES),
        304: empty("The caller has them already."),
    },
    summary="Fetch an output",
    response_class=StreamingResponse,
)
async def output(
    id: str,
    number: int,
    http: HttpRequest,
    doors: Here,
    caller: Who,
    format: Annotated[str | None, Query(json_schema_extra=_FORMATS)] = None,
    bitrate: Annotated[int | None, Query(json_schema_extra=_BITRATES)] = None,
) -> Response:
    """The bytes of an output, or the part of them that `Range` names, as a file that is called
    after its title. `format`: converted, with its tags; `bitrate` in kbit/s, where the format has
    one."""
    asked = checked(format, bitrate)
    made = await run_sync(doors.library.get, id, number, caller.owner)
    file = await run_sync(doors.files.get, made.file)
    if asked is not None and not is_stored(file, asked[0]):
        rendition = await run_sync(doors.renditions.kept, file, *asked)
        if rendition is None:
            make = partial(doors.renditions.made, doors.files, file, *asked)
            rendition = await run_sync(make, limiter=doors.converting)
        named = replace(rendition, name=_called(made.title, rendition.name))
        return served(named, rendition.read, http.headers)
    return sent(doors.files, replace(file, name=_called(made.title, file.name)), http.headers)


def _called(title: str, name: str) -> str:
    """The name of a file to be saved: its title with its ending, or its name if it has none."""
    return safe(title) + PurePath(name).suffix if title else name


def _carried_out(job: Job, work: Work) -> dict[str, JsonValue]:
    """The fields of a job's request, with the seeds that were drawn for it if it was made."""
    done = json.loads(job.result or "{}").get("request")
    if not done:
        return dict(work.request)
    values = {name: done["values"][name] for name in done["set_fields"]}
    return {**values, TASK: work.request[TASK]}


def _accepted(doors: Doors, caller: Caller, job: Job) -> Response:
    view = _shown(doors, caller, job.id)
    status = 202 if job.reused is None else 200
    return JSONResponse(view, status, {"Location": f"/v1/jobs/{job.id}"})


def _shown(doors: Doors, caller: Caller, id: str) -> Json:
    job, outputs, position = doors.library.shown(id, caller.owner)
    return job_view(job, doors.hidden, outputs, position)
