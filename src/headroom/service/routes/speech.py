"""Speech as OpenAI's clients ask for it, with the fields that families add; voices and tags."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from headroom.engine.wire import Json
from headroom.errors import HeadroomError, InvalidRequest, InvalidSource
from headroom.files import parse_json
from headroom.models.registry import speaking_families
from headroom.service.answers import SPEECH, Refusal, answer, refused, shown, status_of
from headroom.service.callers import Caller
from headroom.service.chat.making import Making, follow
from headroom.service.doors import Doors, caller_of, doors_of
from headroom.service.old.bodies import read_body
from headroom.service.orders import read_object
from headroom.service.shapes import bytes_of, events_of, json_of
from headroom.service.speech.ask import PCM, Spoken, read_spoken, renamed, submit
from headroom.service.speech.sound import as_events, samples, whole
from headroom.service.speech.voices import voices_of

router = APIRouter(tags=["speech"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]
JOB = "X-Job-Id"
_ONCE = {"x-should-retry": "false"}  # the job was made, or failed: asking again makes another
_NO_STORE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_PAYLOAD = "payload"
_SOUND: dict[int | str, dict[str, Any]] = {200: bytes_of("*/*", "The sound.")}
_SOUND[200]["content"] |= events_of("Its events, with `stream_format` sse.")["content"]


@router.post(SPEECH[0], responses=_SOUND, summary="Speak a text, or edit a recording")
async def speak(http: HttpRequest, doors: Here, caller: Who) -> Response:
    """The body is one of OpenAI's API; the answer is the sound, which is sent as it is made for the
    formats pcm, and wav with `stream`. It is a job like any other, `X-Job-Id` names it. Who hangs
    up cancels the job."""
    return await _spoken(http, doors, caller, await read_object(http), {})


@router.post(SPEECH[1], responses=_SOUND, summary="The same, with recordings in a form")
async def speak_from_form(http: HttpRequest, doors: Here, caller: Who) -> Response:
    """The form has the body as JSON in `payload`, and files."""
    names = {name for family in speaking_families() for name in family.speech_rest().files}
    async with read_body(http, doors, caller, lambda n: n if n in names else None) as form:
        text = form.values.pop(_PAYLOAD, None)
        try:
            given = parse_json(str(text or "").encode())
        except ValueError as error:
            raise InvalidRequest(_PAYLOAD, text, f"JSON ({error})") from None
        if not isinstance(given, dict) or form.values:
            other = next(iter(form.values), _PAYLOAD)
            raise InvalidRequest(other, form.values.get(other, given), f"an object in {_PAYLOAD}")
        files = {name: file.id for name, _, file in form.files}
        return await _spoken(http, doors, caller, given, files)


@router.get("/v1/voices", responses={200: json_of("Voices")}, summary="The voices that are kept")
def voices(doors: Here, caller: Who) -> dict[str, object]:
    """Each is a recording in the folder `voices` of the service's data, and a text beside it."""
    rows = [
        {"id": one.name, "object": "voice", "name": one.name, "text": one.text}
        for one in voices_of(doors.config.settings).values()
    ]
    return {"object": "list", "data": rows}


@router.get("/v1/tags", responses={200: json_of("Tags")}, summary="Words and tags of speech")
def tags(doors: Here, caller: Who) -> dict[str, object]:
    """What bodies for speech may name, by family: emotions, styles, sounds within a text."""
    return {
        "families": {
            family.name: dict(family.speech_rest().tags()) for family in speaking_families()
        }
    }


async def _spoken(
    http: HttpRequest, doors: Doors, caller: Caller, given: Json, files: Mapping[str, str]
) -> Response:
    spoken = await run_sync(read_spoken, doors, given, files)
    making = await run_sync(submit, doors, caller, spoken)
    headers = {JOB: making.job.id}
    try:
        return await _answered(http, doors, caller, spoken, making, headers)
    except (InvalidRequest, InvalidSource) as error:
        told = renamed(error, spoken.order)
        assert isinstance(told, HeadroomError)
        return answer(status_of(told), shown(told), http.scope, _ONCE | headers)
    except HeadroomError as error:
        return answer(status_of(error), shown(error), http.scope, _ONCE | headers)
    except Refusal as refusal:
        refusal.headers |= _ONCE | headers
        return refused(refusal, http.scope)


async def _answered(
    http: HttpRequest,
    doors: Doors,
    caller: Caller,
    spoken: Spoken,
    making: Making,
    headers: dict[str, str],
) -> Response:
    events = follow(doors, caller, making, http.is_disconnected)
    if spoken.live:
        pieces = samples(doors, making, caller.owner, events, spoken.format)
        first = await anext(pieces)  # an error before it has a status
        kind = f"audio/{'pcm' if spoken.format == PCM else 'wav'}"
        body = _after(first, pieces)
    else:
        async for _ in events:
            pass
        made, parts = await whole(doors, making, spoken.format)
        kind, body = made.kind, iterate_in_threadpool(parts)
        if not spoken.events:
            headers |= {"Content-Length": str(made.size)}
    if spoken.events:
        kind, body = "text/event-stream", as_events(body, making)
    return StreamingResponse(body, media_type=kind, headers={**_NO_STORE, **headers})


async def _after(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece
