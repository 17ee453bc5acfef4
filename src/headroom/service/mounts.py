"""Other applications at paths of this one, behind the same guard; they are named, not imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol, cast

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from headroom.models.family import import_named
from headroom.service.config import ServiceConfig


class Mount(Protocol):
    """An application at a path of the web application, which it is made with."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """While it answers requests."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Mounts:
    """The mounts of a configuration, in an application."""

    def __init__(self, app: FastAPI, config: ServiceConfig) -> None:
        self._all: list[Mount] = []
        for path, place in config.mounts:
            mount = cast("Mount", import_named(place)(app))  # type: ignore[operator]
            app.router.routes.append(Route(path, endpoint=mount))
            self._all.append(mount)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While requests are answered."""
        async with AsyncExitStack() as stack:
            for mount in self._all:
                await stack.enter_async_context(mount.running())
            yield
