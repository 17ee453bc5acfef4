"""The server within the web application: at a path of it, or over standard input and output."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from headroom.mcp_server.link import Link, opened
from headroom.mcp_server.server import Context, Opened, server_of

_KEYS = ("authorization", "x-api-key")  # headers that say who calls


class Mounted:
    """The server over HTTP, as a part of the web application, behind its guard. It answers while
    `running` is entered."""

    def __init__(self, app: ASGIApp) -> None:
        self._server = server_of(lambda context: _as_caller(app, context))
        self._inner: ASGIApp | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While requests are answered."""
        manager = StreamableHTTPSessionManager(
            self._server,
            stateless=True,
            # The guard has looked at host and origin.
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        async with manager.run():
            self._inner = StreamableHTTPASGIApp(manager)
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._inner is None:
            raise RuntimeError("the server has to run the application's lifespan")
        await self._inner(scope, receive, send)


def _as_caller(app: ASGIApp, context: Context) -> AbstractAsyncContextManager[Link]:
    """A link to the service on behalf of the caller: with the caller's address and key."""
    request: Any = context.request
    headers = {name: request.headers[name] for name in _KEYS if name in request.headers}
    client = (request.client.host, request.client.port) if request.client else ("", 0)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False, client=client)
    address = f"{request.url.scheme}://{request.headers['host']}"
    return opened(transport, address, headers, address)


def here(app: ASGIApp, key: str | None) -> Opened:
    """The way to an application of this process, as somebody on this machine."""
    headers = {} if key is None else {_KEYS[1]: key}

    @asynccontextmanager
    async def way(context: Context) -> AsyncIterator[Link]:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with opened(transport, "http://127.0.0.1", headers) as link:
            yield link

    return way


def far(url: str, key: str | None) -> Opened:
    """The way to a service at a URL."""
    headers = {} if key is None else {_KEYS[1]: key}
    return lambda context: opened(None, url, headers, url.rstrip("/"))
