"""The sound of a job as the answer to a request: as it is made, or whole, in the form asked for."""

from __future__ import annotations

import json
import struct
import wave
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

from anyio.to_thread import run_sync

from headroom.engine.wire import Json
from headroom.errors import StorageFailed, UnknownId
from headroom.jobs.files import File
from headroom.jobs.library import Output
from headroom.jobs.pieces import WIDTH
from headroom.service.answers import Refusal
from headroom.service.chat.documents import message
from headroom.service.chat.making import Making
from headroom.service.doors import Doors
from headroom.service.ranges import Kept
from headroom.service.renditions import Rendition, is_stored
from headroom.service.speech.ask import FORMATS, PCM
from headroom.units import MIB

_ENDLESS = 0xFFFFFFFF  # the length in the header of a WAV file that is sent while it grows
Events = AsyncIterator[Json | None]


def output_of(making: Making) -> Output:
    """What was made. Raises Refusal."""
    if not making.outputs:
        raise Refusal(409, "no_sound", f"job {making.job.id} made no sound.")
    return making.outputs[0]


async def whole(doors: Doors, making: Making, format: str) -> tuple[Kept, Iterator[bytes]]:
    """The sound in a format, and its bytes. Raises InvalidRequest, Refusal, UnknownId,
    StorageFailed."""
    file = await _file_of(doors, making)
    if is_stored(file, FORMATS[format]):
        return file, doors.files.read(file.id)
    made = await _rendition(doors, file, format)
    return made, made.read(0, made.size)


async def _file_of(doors: Doors, making: Making) -> File:
    return await run_sync(doors.files.get, output_of(making).file)


async def _rendition(doors: Doors, file: File, format: str) -> Rendition:
    wanted = FORMATS[format]
    found = await run_sync(doors.renditions.kept, file, wanted, None)
    if found is not None:
        return found
    make = doors.renditions.made
    return await run_sync(make, doors.files, file, wanted, None, limiter=doors.converting)


async def samples(
    doors: Doors, making: Making, owner: str | None, events: Events, format: str
) -> AsyncIterator[bytes]:
    """Samples as they are made, 16 bits each; for another format than `pcm` behind the header of a
    WAV file. What was not sent when the job ends is taken from its file.

    Raises what the job failed with.
    """
    sent, begun = 0, format == PCM
    async with aclosing(events) as told:  # type: ignore[type-var]
        async for event in told:
            if event is None or event.get("event") != "audio_ready" or event.get("song") != 0:
                continue
            data, rate = await run_sync(_heard, doors, making.job.id, owner, sent)
            if data:
                yield data if begun else _header(rate) + data
                begun = True
                sent += len(data)
    made = await _rendition(doors, await _file_of(doors, making), format)
    data, rate = await run_sync(_rest, made, sent)
    if data or not begun:
        yield data if begun else _header(rate) + data


def _heard(doors: Doors, job: str, owner: str | None, sent: int) -> tuple[bytes, int]:
    """What can be heard behind the bytes that were sent, and its rate."""
    pieces = doors.files.pieces
    try:
        heard = pieces.heard(job, 0, owner)
        return b"".join(pieces.read(heard, sent, heard.size)), heard.rate
    except UnknownId:  # the job has just ended
        return b"", 0


def _rest(made: Rendition, sent: int) -> tuple[bytes, int]:
    try:
        with wave.open(str(made.path), "rb") as file:
            frame = file.getnchannels() * WIDTH
            file.setpos(min(sent // frame, file.getnframes()))
            return file.readframes(file.getnframes()), file.getframerate()
    except (OSError, wave.Error) as error:
        raise StorageFailed(str(error) or type(error).__name__) from error


def _header(rate: int) -> bytes:
    form = (16, 1, 1, rate, rate * WIDTH, WIDTH, 8 * WIDTH)
    begin = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", _ENDLESS, b"WAVE", b"fmt ", *form)
    return begin + struct.pack("<4sI", b"data", _ENDLESS - 36)


async def as_events(pieces: AsyncIterator[bytes], making: Making) -> AsyncIterator[bytes]:
    """The pieces as the events of OpenAI's API."""
    async for piece in pieces:
        for start in range(0, len(piece), MIB):
            audio = b64encode(piece[start : start + MIB]).decode()
            yield _event({"type": "speech.audio.delta", "audio": audio})
    usage: Json = {
        "input_tokens": making.read, "output_tokens": making.written,
        "total_tokens": making.read + making.written,
    }  # fmt: skip
    yield _event({"type": "speech.audio.done", "usage": usage})


def _event(value: Json) -> bytes:
    return b"".join(message([json.dumps(value).encode()]))
