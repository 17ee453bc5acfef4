"""Songs that are being decoded, to be heard as far as they are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query
from fastapi import Request as HttpRequest
from fastapi.responses import Response, StreamingResponse
from pydantic import JsonValue

from headroom.errors import InvalidRequest
from headroom.jobs.pieces import WIDTH, Heard, Pieces
from headroom.service.callers import Caller
from headroom.service.doors import Doors, caller_of, doors_of
from headroom.service.ranges import served
from headroom.service.shapes import bytes_of, empty

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]
_KIND = "audio/wav"
_BYTES = "The bytes of a WAV file."
_START: dict[str, JsonValue] = {"minimum": 0}


@dataclass(frozen=True, slots=True)
class _File:
    """What can be heard of a song from sample `start` on, as a WAV file."""

    heard: Heard
    start: int
    name: str
    kind: str = _KIND

    @property
    def hash(self) -> str:
        """A word for this state of the file, which grows."""
        return f"{self.heard.name}-{self.start}"

    @property
    def size(self) -> int:
        return len(self._header) + self.heard.size - self._before

    @property
    def _before(self) -> int:
        """Bytes of the samples that are left out."""
        return self.start * self.heard.channels * WIDTH

    @property
    def _header(self) -> bytes:
        heard, after = self.heard, self.heard.size - self._before
        frame = heard.channels * WIDTH
        form = (16, 1, heard.channels, heard.rate, heard.rate * frame, frame, 8 * WIDTH)
        begin = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + after, b"WAVE", b"fmt ", *form)
        return begin + struct.pack("<4sI", b"data", after)

    def read(self, pieces: Pieces, start: int, stop: int) -> Iterator[bytes]:
        header = self._header
        if start < len(header):
            yield header[start:stop]
        skipped = len(header) - self._before
        yield from pieces.read(self.heard, max(start - skipped, self._before), stop - skipped)


@router.get(
    "/{id}/outputs/{number}/preview",
    responses={
        200: bytes_of(_KIND, _BYTES),
        206: bytes_of(_KIND, _BYTES),
        304: empty("Nothing more can be heard than the caller has."),
    },
    summary="Hear a song that is being made",
    response_class=StreamingResponse,
)
async def preview(
    id: str,
    number: int,
    http: HttpRequest,
    doors: Here,
    caller: Who,
    start: Annotated[int, Query(json_schema_extra=_START)] = 0,
) -> Response:
    """What is decoded so far of an output of a job at work, in 16 bits; `start`: without so many
    samples of each channel. The event `audio_ready` tells that there is more: `start` + `frames`
    samples can be heard then. It is there until the job has ended: then the output is."""
    if start < 0:
        raise InvalidRequest("start", start, "a number of samples, 0 or more")
    pieces = doors.files.pieces
    heard = await run_sync(pieces.heard, id, number - 1, caller.owner)
    if start >= heard.frames:
        raise InvalidRequest("start", start, f"below {heard.frames}, which can be heard")
    file = _File(heard, start, f"preview-{number}.wav")
    return served(file, partial(file.read, pieces), http.headers, caching="no-store")
