"""Decides about a request before its body is read: who calls, from where, and how much may come.

It is plain ASGI, outside of the framework, which reads bodies before it asks anything.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import MutableMapping
from secrets import token_hex
from typing import Any

from anyio.to_thread import run_sync
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headroom.errors import HeadroomError
from headroom.log import log
from headroom.service.answers import CHAT, SPEECH, Refusal, answer, refused, shown, status_of
from headroom.service.callers import (
    HERE,
    USE,
    Caller,
    Headers,
    caller_with,
    check_host,
    check_origin,
    host_in,
    is_here,
    no_key,
    secret_in,
)
from headroom.service.config import ServiceConfig
from headroom.service.envelope import POSTS
from headroom.service.envelope import UPLOADS as OLD_UPLOADS
from headroom.service.old.token import MOST, token_in
from headroom.service.sessions import caller_in
from headroom.service.uploads import is_form

OPEN = ("/health", "/health/live", "/health/ready")  # answered without a key
UPLOADS = ("/v1/files",)  # take bodies of other types than JSON, and larger ones
_FORM = 1 << 16  # bytes of a multipart body around the file
_OLD_FILES = 2  # of one request: a recording to work on, and one to sound like
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE | re.ASCII)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Guard:
    """Lets requests through to `app`, with `caller` and `request_id` in the scope's state."""

    def __init__(self, app: ASGIApp, config: ServiceConfig) -> None:
        self._app, self._config = app, config
        self._open = OPEN if config.page is None else (*OPEN, config.page.login)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSocket is served
            await send({"type": "websocket.close", "code": 1008})
            return
        request_id = token_hex(8)
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        send = _with_headers(send, request_id, self._policy(scope["path"]))
        try:
            body = self._body(scope, receive)
            state["caller"] = await self._caller(scope, body)
            body.check_announced(scope)
        except Refusal as refusal:
            response = self._to_login(scope) if refusal.status == 401 else None
            response = response or refused(refusal, scope)
            await response(scope, receive, _closing(send))
        except HeadroomError as error:  # of the database
            log.warning("%s: %s", request_id, error)
            failed = answer(status_of(error), shown(error), scope)
            await failed(scope, receive, _closing(send))
        else:
            await self._app(scope, body, send)

    async def _caller(self, scope: Scope, body: _Body) -> Caller | None:
        """Who calls; None for one without a key, on an open path. Of the body, no more than its
        beginning is read. Raises Refusal."""
        if not scope["path"].isprintable():  # no id has such signs, and not every database them
            raise Refusal(404, "unknown_path", "there is no such path.")
        headers = Headers(scope["headers"])
        host, secret = host_in(headers), secret_in(headers)
        in_body = scope["method"] == "POST" and scope["path"] in POSTS
        if in_body and secret is None:
            check_origin(scope["method"], host, False, headers, self._config)
            secret = await _key_in(body, scope, headers)
        caller, keys = None, scope["app"].state.doors.keys
        if secret is not None:
            caller = await run_sync(caller_with, secret, keys, self._config)
        elif headers.all("cookie"):
            found = await run_sync(caller_in, scope["method"], headers, keys, self._config)
            if found is not None:
                caller, scope["state"]["session"] = found
        is_open = scope["path"] in self._open
        # Who asks only for life may be a program that knows an address alone, and who opens the
        # page by a new name of it is led to the form for a key, which is open.
        if not is_open and (caller is not None or not self._is_page(scope["path"])):
            check_host(host, caller is not None, self._config)
        check_origin(scope["method"], host, caller is not None, headers, self._config)
        client = scope.get("client")
        if caller is None and self._config.key is None and self._config.trusts_here:
            caller = HERE if is_here(host, client[0] if client else None, headers) else None
        if caller is None and not is_open:
            raise no_key()
        if caller is not None and USE not in caller.scopes and not is_open:
            raise Refusal(403, "no_right", "this key may not use the service.", "scope", USE)
        if secret is None and not in_body:
            _check_kind(scope, headers)
        return caller

    def _is_page(self, path: str) -> bool:
        return self._config.page is not None and self._config.page.holds(path)

    def _policy(self, path: str) -> str:
        page = self._config.page
        return page.policy if page is not None and page.holds(path) else _POLICY

    def _to_login(self, scope: Scope) -> Response | None:
        """The redirect to the sign-in form, for a browser that opens the page without a key."""
        page = self._config.page
        if page is None or not page.holds(scope["path"]) or scope["method"] != "GET":
            return None
        kinds = Headers(scope["headers"]).all("accept")
        opens = any("text/html" in kind for kind in kinds)
        return RedirectResponse(page.login, 303, {"Cache-Control": "no-store"}) if opens else None

    def _body(self, scope: Scope, receive: Receive) -> _Body:
        """The body, with a limit and a deadline."""
        config, path = self._config, scope["path"]
        inline = *CHAT, SPEECH[0]  # recordings as Base64, within JSON
        upload = path in (*UPLOADS, *inline)
        most = config.upload_bytes + _FORM if path in UPLOADS else config.body_bytes
        if path in inline:
            most += config.inline_bytes * 4 // 3
        if path in (*OLD_UPLOADS, SPEECH[1]) and is_form(
            Headers(scope["headers"]).get("content-type") or ""
        ):
            upload, most = True, _OLD_FILES * config.upload_bytes + config.body_bytes
        seconds = config.upload_seconds if upload else config.body_seconds
        return _Body(receive, most, seconds, config.idle_seconds)


class _Body:
    """A body that may neither grow nor last without end."""

    def __init__(self, receive: Receive, most: int, seconds: float, idle: float) -> None:
        self._receive, self._most, self._left = receive, most, most
        self._until, self._idle = time.monotonic() + seconds, idle
        self._whole = False
        self._begun: list[Message] = []  # pieces that were looked at and are still to be read

    async def __call__(self) -> Message:
        return self._begun.pop(0) if self._begun else await self._next()

    async def start(self, most: int) -> tuple[bytes, bool]:
        """The first bytes, `most` of them or more unless the body ends before, and whether it has
        ended. They are read again afterwards. Raises Refusal."""
        while not self._whole and sum(len(one.get("body", b"")) for one in self._begun) < most:
            self._begun.append(await self._next())
        return b"".join(one.get("body", b"") for one in self._begun), self._whole

    def check_announced(self, scope: Scope) -> None:
        """Raise Refusal for a body that is announced as too large."""
        announced = Headers(scope["headers"]).get("content-length")
        if announced is None:
            return
        if not (announced.isascii() and announced.isdecimal()) or len(announced) > 18:
            raise Refusal(400, "invalid_request", "Content-Length is no number.")
        if int(announced) > self._most:
            raise _too_large(self._most)

    async def _next(self) -> Message:
        if self._whole:  # what comes now is the end of the connection
            return await self._receive()
        wait = min(self._idle, self._until - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(wait, 0.001))
        except TimeoutError as error:
            text = "the body of the request did not arrive in time."
            raise Refusal(408, "too_slow", text, Connection="close") from error
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large(self._most)
        self._whole = not message.get("more_body", False)
        return message


async def _key_in(body: _Body, scope: Scope, headers: Headers) -> str | None:
    """The key in the first bytes of a body. Raises Refusal."""
    body.check_announced(scope)
    start, whole = await body.start(MOST)
    secret = token_in(headers.get("content-type") or "", start, whole)
    if secret is not None and not secret.isascii():
        raise no_key()
    return secret


def _too_large(most: int) -> Refusal:
    text = f"the body of the request has more than {most} bytes."
    return Refusal(413, "too_large", text, "body", f"at most {most} bytes", Connection="close")


def _check_kind(scope: Scope, headers: Headers) -> None:
    """Without a key only JSON may change something: a form is what any page can send."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS", "DELETE") or scope["path"] in UPLOADS:
        return
    kind = headers.get("content-type") or ""
    empty = headers.get("content-length") in (None, "0") and not headers.all("transfer-encoding")
    if not _JSON.match(kind) and not (empty and not kind):
        allowed = "application/json, or a key in a header"
        raise Refusal(415, "wrong_type", "this type of body is not taken.", "Content-Type", allowed)


def _with_headers(send: Send, request_id: str, policy: str) -> Send:
    always = (*_ALWAYS, (b"content-security-policy", policy.encode()))

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            named = [(b"x-request-id", request_id.encode()), *always]
            message["headers"] = [*message.get("headers", ()), *named]
        await send(message)

    return sent


def _closing(send: Send) -> Send:
    """A response after which the connection ends, as the body of its request is not read."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [one for one in message.get("headers", ()) if one[0] != b"connection"]
            message["headers"] = [*headers, (b"connection", b"close")]
        await send(message)

    return sent
