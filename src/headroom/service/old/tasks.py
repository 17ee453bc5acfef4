"""Accepts what bodies of ACE-Step's REST interface ask for as jobs, and waits for short ones."""

from __future__ import annotations

import json
import time
from typing import Any, cast

from anyio import CancelScope
from anyio.to_thread import run_sync
from fastapi import Request as HttpRequest
from pydantic import JsonValue

from headroom.engine.wire import Json, error_from, note_json
from headroom.errors import HeadroomError, InvalidRequest
from headroom.jobs.values import Asked, Job
from headroom.models.family import OldOrder, OldRest, import_named
from headroom.models.registry import family_named
from headroom.service.answers import Refusal
from headroom.service.callers import Caller
from headroom.service.doors import Doors
from headroom.service.old.models import model_named
from headroom.service.orders import check_files, read_order
from headroom.service.work import files_of

_ASK_SECONDS = 1.0  # between two questions whether the client has hung up


def old_rest(doors: Doors) -> OldRest:
    """How bodies are read for the service's family. Raises Refusal for one that has no such
    interface."""
    name = doors.config.family
    place = family_named(name).old_rest
    if place is None:
        message = f"the family {name} has no such interface: POST /v1/jobs takes its requests."
        raise Refusal(404, "unknown_path", message)
    return cast("OldRest", import_named(place))


def submit(
    doors: Doors,
    caller: Caller,
    order: OldOrder,
    repeat: str | None = None,
    within: float | None = None,
) -> Job:
    """Accept a job. Raises what reading a request and accepting it do."""
    model = model_named(doors, order.model)
    given = cast("dict[str, JsonValue]", dict(order.request))
    first = None if order.first is None else cast("dict[str, JsonValue]", dict(order.first))
    work, request = read_order(given, doors.config.family, model, first)
    check_files(request, doors.files, caller.key)
    inputs = files_of(request)
    asked = Asked(work.model_dump_json(), caller.key, repeat, within=within, inputs=inputs)
    return doors.queue.submit(asked, caller.waiting)


def notes_of(doors: Doors, order: OldOrder) -> JsonValue:
    """The notes on a body, for the member `extra`; None: there are none."""
    notes: list[JsonValue] = [doors.hidden.object(note_json(note)) for note in order.notes]
    return {"notes": notes} if notes else None


async def waited_for(http: HttpRequest, doors: Doors, caller: Caller, order: OldOrder) -> Json:
    """The output of a job that a client waits for; who hangs up cancels it.

    Raises the error that it failed with, Refusal for a job that was not made in time.
    """
    seconds = doors.config.wait_seconds
    job = await run_sync(submit, doors, caller, order, None, seconds)
    until = time.monotonic() + seconds
    try:
        while not (job.has_ended or time.monotonic() >= until or doors.closing.is_set()):
            if await http.is_disconnected():
                break
            await doors.looks.wait(job, min(_ASK_SECONDS, until - time.monotonic()))
            job = await run_sync(doors.queue.get, job.id, caller.owner)
    finally:
        if not job.has_ended:
            with CancelScope(shield=True):
                job = await run_sync(doors.queue.cancel, job.id, caller.owner)
    return _output(doors, job)


def _output(doors: Doors, job: Job) -> Json:
    if job.state == "failed":
        raise _failure(error_from(doors.hidden.object(json.loads(job.error or "{}"))))
    if job.state != "done":
        raise Refusal(504, "not_made", f"the language model did not finish: it is {job.state}.")
    result: Any = doors.hidden.object(json.loads(job.result or "{}"))
    return cast("Json", result["output"])


def _failure(error: HeadroomError) -> HeadroomError | Refusal:
    """Where no language model is to be used, the service is what lacks something."""
    if isinstance(error, InvalidRequest) and error.field == "lm_model":
        return Refusal(503, "no_language_model", str(error), error.field, error.allowed)
    return error
