"""Songs as answers to chat messages, as OpenAI's and OpenRouter's clients ask for them."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from headroom.engine.wire import Json
from headroom.errors import HeadroomError
from headroom.log import log
from headroom.service.answers import (
    CHAT,
    Refusal,
    answer,
    form_of,
    in_openai_form,
    refused,
    request_id,
    shown,
    status_of,
)
from headroom.service.callers import Caller
from headroom.service.chat import documents
from headroom.service.chat.ask import Ask, read_ask
from headroom.service.chat.making import Making, follow, submit
from headroom.service.doors import Doors, caller_of, doors_of
from headroom.service.errands import chosen_model
from headroom.service.orders import read_object
from headroom.service.shapes import events_of, json_of

router = APIRouter(tags=["chat"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]
QUIET_SECONDS = 2.0  # of a stream, after which a comment says that it lives
_ONCE = {"x-should-retry": "false"}  # the job was made, or failed: asking again makes another

_RESPONSES: dict[int | str, dict[str, Any]] = {200: json_of("Completion", "A completion.")}
_RESPONSES[200]["content"] |= events_of("Its chunks, with `stream`.")["content"]


@router.post(CHAT[0], responses=_RESPONSES, summary="Answer a message with a song")
@router.post(CHAT[1], responses=_RESPONSES, summary="The same under OpenRouter's path")
async def complete(http: HttpRequest, doors: Here, caller: Who) -> Response:
    """The body is a chat of OpenAI's or OpenRouter's API; fields of the song's request may stand in
    it, too. The answer waits for the song; with `stream`, it tells of progress meanwhile. Who
    hangs up cancels the job."""
    ask = await run_sync(_read, doors, await read_object(http))
    making = await run_sync(submit, doors, caller, ask)
    if ask.stream:
        pieces = _streamed(http, doors, caller, ask, making)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(pieces, media_type="text/event-stream", headers=headers)
    try:
        async for _ in follow(doors, caller, making, http.is_disconnected):
            pass
    except HeadroomError as error:
        return answer(status_of(error), shown(error), http.scope, _ONCE)
    except Refusal as refusal:
        refusal.headers |= _ONCE
        return refused(refusal, http.scope)
    marks = documents.Marks(doors.files)
    document = documents.completion(ask, making, marks, _expires(doors, making))
    return StreamingResponse(marks.filled(document), media_type="application/json")


def _read(doors: Doors, given: Json) -> Ask:
    config = doors.config
    return read_ask(given, config.settings, config.family, chosen_model(doors))


def _expires(doors: Doors, making: Making) -> int:
    """When the songs of a job are removed, in seconds since 1970."""
    keep, ended = doors.config.keep_seconds, making.job.ended
    return documents.NEVER if keep is None or ended is None else int(ended + keep)


async def _streamed(
    http: HttpRequest, doors: Doors, caller: Caller, ask: Ask, making: Making
) -> AsyncIterator[bytes]:
    """The answer in pieces: progress while the song is made, then what was made, and its sound."""

    def piece(delta: Json, **more: object) -> bytes:
        return _sent(documents.chunk(ask, making, delta, **more))  # type: ignore[arg-type]

    yield piece({"role": "assistant", "content": ""})
    try:
        spoke = time.monotonic()
        async for event in follow(doors, caller, making, http.is_disconnected):
            if event is not None and event["event"] == "progress":
                progress = {name: event.get(name) for name in ("stage", "done", "total")}
                yield _comment("{stage} {done}/{total}".format(**progress))
                yield piece({}, progress=progress)
                spoke = time.monotonic()
            elif time.monotonic() - spoke >= QUIET_SECONDS:
                yield _comment(making.job.state)
                spoke = time.monotonic()
        yield piece({"content": documents.content(ask, making)})
        for part in documents.audio_chunks(ask, making, doors.files, _expires(doors, making)):
            async for some in iterate_in_threadpool(part):
                yield some
    except (HeadroomError, Refusal) as error:
        yield piece({"content": ""}, finish_reason="error", error=_told(http, error))
    else:
        for index in range(len(making.outputs) if ask.openai else 1):
            more = documents.ending(making, usage=False) if index == 0 else {}
            yield piece({}, index=index, finish_reason="stop", **more)
        if ask.usage:
            usage = documents.usage_of(making)
            yield _sent(documents.without_choice(ask, making, usage=usage))
    yield documents.DONE


def _sent(document: Json) -> bytes:
    return b"".join(documents.message([json.dumps(document).encode()]))


def _comment(text: str) -> bytes:
    return f": {text}\n\n".encode()


def _told(http: HttpRequest, error: HeadroomError | Refusal) -> Json:
    """The error object of a stream."""
    if isinstance(error, Refusal):
        status, form = error.status, form_of(error.code, error.message, error.values)
    else:
        status, form = status_of(error), shown(error)
    if status >= 500:
        log.warning("%s: %s", request_id(http.scope), error)
    form |= {"request_id": request_id(http.scope)}
    return in_openai_form(status, form)[1]["error"]  # type: ignore[return-value]
