"""Sends the bytes of a file, all of them or the part that was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from typing import Protocol
from urllib.parse import quote

from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from headroom.jobs.files import File, Files
from headroom.service.answers import Refusal

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class Kept(Protocol):
    """A file that is kept somewhere: `hash` is its SHA-256, `kind` its media type."""

    @property
    def hash(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...


def sent(files: Files, file: File, asked: Mapping[str, str]) -> Response:
    """The response with the bytes of a file of the service. Raises as `served`."""
    return served(file, partial(files.read, file.id, None), asked)


def served(
    file: Kept,
    read: Callable[[int, int], Iterator[bytes]],
    asked: Mapping[str, str],
    caching: str = "private, max-age=86400",
) -> Response:
    """The response with the bytes of a file, which `read` yields from one place to another. Who
    asks may keep them as `caching` says.

    Raises Refusal for a range outside of it, StorageFailed.
    """
    tag = f'"{file.hash}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Cache-Control": caching,
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(file.name, safe='')}",
    }
    if tag in [one.strip() for one in asked.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    start, stop = 0, file.size
    part = _part(asked.get("range"), file.size) if asked.get("if-range", tag) == tag else None
    if part is not None:
        start, stop = part
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    headers["Content-Length"] = str(stop - start)
    return _Closing(read(start, stop), 206 if part else 200, headers, file.kind)


class _Closing(StreamingResponse):
    """Closes what it reads when the answer ends, also where who asked has gone."""

    def __init__(
        self, pieces: Iterator[bytes], status: int, headers: Mapping[str, str], kind: str
    ) -> None:
        super().__init__(pieces, status, headers, kind)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if isinstance(self._pieces, Generator):
                self._pieces.close()


def _part(text: str | None, size: int) -> tuple[int, int] | None:
    """The range in a header, its end not included; None: there is none, or one of another kind,
    which is to be ignored. Raises Refusal."""
    found = _RANGE.fullmatch((text or "").replace(" ", ""))
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        start, stop = max(0, size - int(found[2])), size
    else:
        start = int(found[1])
        stop = size if found[2] == "" else min(int(found[2]) + 1, size)
        if found[2] and int(found[2]) < start:
            return None
    if start >= size or stop <= start:
        allowed = f"a part of {size} bytes"
        more = {"Content_Range": f"bytes */{size}"}
        raise Refusal(416, "no_such_range", "the file has no such bytes.", "Range", allowed, **more)
    return start, stop
