"""Files named by their content: packed once, kept in memory, and kept by browsers for ever.

Gradio packs them anew for everybody who opens the page, and answers nobody else meanwhile.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FOR_EVER = (b"cache-control", b"private, max-age=31536000, immutable")
_PACKED = ("br", "gzip", "identity")  # ways in which they are sent, the best first
_PARTLY = ("range", "if-none-match", "if-modified-since")  # asks for less than the file
MOST = 4 << 20  # bytes of a file that is kept


class Assets:
    """The files of `app`, an application that has no other than such ones below these paths."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[tuple[str, str], tuple[Message, bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["method"] != "GET" or any(name in headers for name in _PARTLY):
            await self._app(scope, receive, _for_ever(send))
            return
        asked = headers.get("accept-encoding", "")
        packed = next((one for one in _PACKED if one in asked), _PACKED[-1])
        key = scope["path"], packed
        kept = self._kept.get(key)
        if kept is None:
            # Of the request no more than what the answer may depend on, for all who ask.
            plain = [(b"accept-encoding", packed.encode())]
            start, body = await _answer(self._app, {**scope, "headers": plain}, receive)
            if start["status"] == 200 and len(body) <= MOST:
                self._kept[key] = start, body
        else:
            start, body = kept
        await _for_ever(send)({**start, "headers": list(start["headers"])})
        await send({"type": "http.response.body", "body": body})


async def _answer(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """The beginning of an application's answer, and its body."""
    start: Message = {}
    pieces: list[bytes] = []

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        elif message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))

    await app(scope, receive, sent)
    return start, b"".join(pieces)


def _for_ever(send: Send) -> Send:
    """Sends a file, which browsers may keep if it was found."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            headers = [one for one in message["headers"] if one[0] != _FOR_EVER[0]]
            message = {**message, "headers": [*headers, _FOR_EVER]}
        await send(message)

    return sent
