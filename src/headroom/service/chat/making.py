"""Has the song of a chat made as a job, and follows it while somebody waits for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from anyio import CancelScope
from anyio.to_thread import run_sync

from headroom.engine.wire import Json, error_from, note_json
from headroom.errors import HeadroomError, InvalidRequest
from headroom.jobs.library import Output
from headroom.jobs.queue import PAGE
from headroom.jobs.values import Asked, Job, Story
from headroom.service.answers import Refusal
from headroom.service.callers import Caller
from headroom.service.chat.ask import Ask
from headroom.service.chat.order import order_of
from headroom.service.chat.recordings import kept
from headroom.service.doors import Doors
from headroom.service.models import has_language_model
from headroom.service.orders import check_files, read_order
from headroom.service.planning import limits_of, usual_request
from headroom.service.views import event_view
from headroom.service.work import files_of

LOOK_SECONDS = 1.0  # between two questions whether the client is still there
Gone = Callable[[], Awaitable[bool]]
"""Whether the client has hung up."""


@dataclass(slots=True)
class Making:
    """A job, and what is known of it. `notes` are those of the chat, before the job's own.

    read, written  tokens that a language model read and wrote
    """

    job: Job
    notes: list[Json]
    outputs: tuple[Output, ...] = ()
    result: Json | None = None
    read: int = 0
    written: int = 0


def submit(doors: Doors, caller: Caller, ask: Ask) -> Making:
    """Accept a job for what a chat asks for. Raises what reading and accepting a request do."""

    def writes_sheets() -> bool:
        return _has_language_model(doors, ask)

    with kept(doors, caller, ask.said.recordings) as recordings:
        order = order_of(ask, recordings.ids, writes_sheets)
        work, request = read_order(order.values, ask.family, ask.model, order.first)
        check_files(request, doors.files, caller.key)
        asked = Asked(work.model_dump_json(), caller.key, inputs=files_of(request))
        job = doors.queue.submit(asked, caller.waiting)
    notes = (*order.notes, *recordings.notes)
    return Making(job, [doors.hidden.object(note_json(note)) for note in notes])


def _has_language_model(doors: Doors, ask: Ask) -> bool:
    """Whether a language model is installed, and used on the machine that is known."""
    settings = doors.config.settings
    if not has_language_model(settings, ask.family):
        return False
    try:
        limits = limits_of(doors, usual_request(ask.family, None), ask.family, ask.model, None)
    except InvalidRequest:  # no machine is known
        return False
    return bool(limits["language_model"])


async def follow(
    doors: Doors, caller: Caller, making: Making, gone: Gone
) -> AsyncIterator[Json | None]:
    """The events of a job until it is done; None at each look that finds none.

    The job is cancelled if the client hangs up, or the caller leaves the loop before its end.
    Raises the error that the job failed with, and Refusal for a job that was not made.
    """
    owner, id = caller.owner, making.job.id
    try:
        async for story in _stories(doors, id, owner):
            making.job = story.job
            for event in story.events:
                view = event_view(id, event, doors.hidden)
                _count(making, view)
                yield view
            if not story.events:
                yield None
            if await gone():
                return
            if doors.closing.is_set() and not story.job.has_ended:
                raise _not_made("closing", f"the server ends; job {id} goes on without it.")
    finally:
        if not making.job.has_ended and not doors.closing.is_set():
            with CancelScope(shield=True), suppress(HeadroomError):
                await run_sync(doors.queue.cancel, id, owner)
    await _end(doors, making, owner)


async def _stories(doors: Doors, job: str, owner: str | None) -> AsyncIterator[Story]:
    """What happens to a job, look by look, until it has ended. Raises what reading it does."""
    after = 0
    while True:
        story = await run_sync(doors.queue.story, job, after, owner)
        yield story
        if story.events:
            after = story.events[-1].number
        if len(story.events) < PAGE:
            if story.job.has_ended:
                return
            await doors.looks.wait(story.job, LOOK_SECONDS)


async def _end(doors: Doors, making: Making, owner: str | None) -> None:
    """Read the result of a job. Raises its error."""
    job = making.job
    if job.state == "failed":
        raise error_from(doors.hidden.object(json.loads(job.error or "{}")))
    if job.state != "done":
        raise _not_made(job.state, f"job {job.id} was not made: it is {job.state}.")
    making.result = doors.hidden.object(json.loads(job.result or "{}"))
    making.outputs = await run_sync(doors.library.of_job, job.id, owner)


def _not_made(code: str, message: str) -> Refusal:
    return Refusal(503 if code == "closing" else 409, code, message)


def _count(making: Making, event: Json) -> None:
    spent = event.get("spent")
    if event.get("event") == "wrote" and isinstance(spent, dict):
        making.read += _number(spent, "read")
        making.written += _number(spent, "drawn") + _number(spent, "forced")


def _number(values: Json, name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else 0
