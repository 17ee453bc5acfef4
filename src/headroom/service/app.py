"""Makes the web application: routes behind the guard, errors in one form. No torch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from threading import Event

from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headroom.errors import HeadroomError, InvalidRequest, NotSupportedYet, QueueFull
from headroom.log import log
from headroom.service.allowed import allowed
from headroom.service.answers import (
    Refusal,
    answer,
    form_of,
    refused,
    request_id,
    shown,
    status_of,
)
from headroom.service.config import KnownMachine, ServiceConfig
from headroom.service.doors import USUAL_SECONDS, Doors, open_doors
from headroom.service.guard import Guard
from headroom.service.machine import Examined
from headroom.service.metrics import Requests
from headroom.service.mounts import Mounts
from headroom.service.routes import (
    chat,
    engines,
    files,
    health,
    jobs,
    library,
    old,
    old_models,
    planning,
    preview,
    session,
    speech,
)  # fmt: skip
from headroom.service.schema import document

_RETRY_SECONDS = range(1, 301)  # that a caller is asked to wait while the queue is full
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def create_app(
    config: ServiceConfig, machine: KnownMachine | None = None, closing: Event | None = None
) -> FastAPI:
    """The application. Nothing is opened before its lifespan starts, nor after it has ended.

    `machine` is called for the machine that plans are made for; None: the one it runs on. When
    `closing` is set, streams end, as servers wait for them.
    """
    known = Examined(config.settings) if machine is None else machine
    closing = closing or Event()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        doors = await run_sync(open_doors, config, known, closing)
        app.state.doors = doors
        try:
            async with mounts.running():
                yield
        finally:
            closing.set()
            await run_sync(doors.database.close)

    app = FastAPI(
        title="headroom", version=_version(), lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.requests = Requests()
    for module in (
        jobs, preview, files, planning, engines, chat, speech, library, session, old, old_models,
        health,
    ):  # fmt: skip
        app.include_router(module.router)
    mounts = Mounts(app, config)
    app.add_exception_handler(HeadroomError, _on_error)
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_parameter)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)
    app.add_middleware(_Counted, requests=app.state.requests)
    app.add_middleware(Guard, config=config)
    if config.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "Last-Event-ID",
                "Range",
            ],
            expose_headers=["X-Request-Id", "Location", "Retry-After", "Content-Range", "ETag"],
        )  # fmt: skip
    if config.page is not None:
        config.page.add(app, config.settings, config.family)
    app.openapi = lambda: document(app, config)  # type: ignore[method-assign]
    return app


class _Counted:
    """Counts requests by the route that answered them."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "(none)")
                self._requests.add(scope["method"], route, message["status"])
            await send(message)

        await self._app(scope, receive, sent if scope["type"] == "http" else send)


async def _on_error(http: HttpRequest, error: Exception) -> JSONResponse:
    assert isinstance(error, HeadroomError)
    status, headers = status_of(error), {}
    doors: Doors = http.app.state.doors
    if isinstance(error, QueueFull):
        stats = await run_sync(doors.queue.stats)
        wait = round(stats.seconds or USUAL_SECONDS)
        headers["Retry-After"] = str(min(max(wait, _RETRY_SECONDS[0]), _RETRY_SECONDS[-1]))
    if status >= 500 and not isinstance(error, NotSupportedYet):
        log.warning("%s: %s", request_id(http.scope), error)
    return answer(status, doors.hidden.object(shown(error)), http.scope, headers)


async def _on_refusal(http: HttpRequest, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return refused(error, http.scope)


async def _on_parameter(http: HttpRequest, error: Exception) -> JSONResponse:
    """A parameter of the path or of the query that the framework refused."""
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    field = str(fault["loc"][-1])
    return await _on_error(http, InvalidRequest(field, fault.get("input"), allowed(fault)))


async def _on_http(http: HttpRequest, error: Exception) -> JSONResponse:
    """No such path, or another method than it takes."""
    assert isinstance(error, HTTPException)
    codes = {404: "unknown_path", 405: "wrong_method", 400: "invalid_request"}
    text = {404: "there is no such path.", 405: "the path does not take this method."}
    code = codes.get(error.status_code, "refused")
    message = text.get(error.status_code, "the request cannot be read.")
    headers = dict(error.headers or {})
    if error.status_code == 405:  # the framework names those of the first route alone
        headers["Allow"] = ", ".join(_methods(http))
    return answer(error.status_code, form_of(code, message), http.scope, headers)


def _methods(http: HttpRequest) -> list[str]:
    """The methods that a path takes."""
    asked = [(method, {**http.scope, "method": method}) for method in _METHODS]
    routes = http.app.routes
    return [m for m, scope in asked if any(r.matches(scope)[0] is Match.FULL for r in routes)]


async def _on_fault(http: HttpRequest, error: Exception) -> JSONResponse:
    """A fault of this program: its class and place stand in the log, under the request's id."""
    number = request_id(http.scope)
    log.error("%s: %s", number, type(error).__name__, exc_info=error)
    form = form_of("fault", "a fault of the server; its log has more.")
    return answer(500, form, http.scope, {"X-Request-Id": number})  # it passes the guard by


def _version() -> str:
    try:
        return version("headroom-audio")
    except PackageNotFoundError:
        return "0"
