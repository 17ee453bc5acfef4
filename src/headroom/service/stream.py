"""The events of a job as a stream of server-sent events."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from functools import partial

from anyio.to_thread import run_sync

from headroom.errors import HeadroomError, InvalidRequest
from headroom.jobs.queue import PAGE
from headroom.jobs.values import Story
from headroom.service.doors import Doors
from headroom.service.views import event_view, job_view

PING_SECONDS = 15.0  # between comments, by which both ends and those between know that it lives
LIFE_SECONDS = 600.0  # of one stream: then the client connects again, and misses nothing
_LAST = re.compile(r"(\d{1,15})(-end)?", re.ASCII)


def last_event(text: str | None) -> tuple[int, bool]:
    """The number in Last-Event-ID, and whether the stream had ended with it. Raises
    InvalidRequest."""
    found = _LAST.fullmatch(text or "0")
    if found is None:
        raise InvalidRequest("Last-Event-ID", text, "the id of an event of this job")
    return int(found[1]), found[2] is not None


async def stream(
    doors: Doors, job: str, owner: str | None, first: Story, after: int
) -> AsyncIterator[bytes]:
    """The events behind number `after`, and the job itself when it has ended.

    No connection to the database is held between two looks. The stream ends without the event
    `end` when it has lasted long enough, and when the server ends: the client connects again.
    """
    story = first
    ends, spoke = time.monotonic() + LIFE_SECONDS, time.monotonic()
    yield b"retry: 1000\n\n"
    while True:
        for event in story.events:
            view = event_view(job, event, doors.hidden)
            yield _message(str(event.number), str(view.get("event", "event")), view)
            after, spoke = event.number, time.monotonic()
        if len(story.events) < PAGE:
            if story.job.has_ended:
                try:
                    outputs = await run_sync(doors.library.of_job, job, owner)
                except HeadroomError:  # the job has just been deleted, or the database is away
                    return
                yield _message(f"{after}-end", "end", job_view(story.job, doors.hidden, outputs))
                return
            if time.monotonic() >= ends or doors.closing.is_set():
                return
            if time.monotonic() - spoke >= PING_SECONDS:
                yield b": still here\n\n"
                spoke = time.monotonic()
            await doors.looks.wait(story.job, spoke + PING_SECONDS - time.monotonic())
        try:
            read = partial(doors.queue.story, job, after, owner)
            story = await doors.looks.read((job, after, owner), read)
        except HeadroomError:  # the job was deleted, or the database is away: the client asks again
            return


def _message(id: str, kind: str, data: object) -> bytes:
    return f"id: {id}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
