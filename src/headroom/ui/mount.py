"""Adds the page to the application of the service: the form for a key, files, and the page itself.

Importing this module imports no Gradio.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headroom.models.registry import family_named
from headroom.settings import Settings
from headroom.ui import player
from headroom.ui.assets import Assets

P = ParamSpec("P")
PATH, LOGIN = "/ui", "/login"
FILES, PLAYER = f"{PATH}/files", f"{PATH}/player"
STATIC = Path(__file__).parent / "static"
# Gradio makes functions of its templates, which hold nothing but constants of ours.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Of Gradio's routes those that the page uses. No other answers: they serve files by their paths,
# take uploads, or stream without asking who listens.
_USED = re.compile(
    r"/(|config/?|theme\.css|favicon\.ico|manifest\.json|robots\.txt|(assets|static|svelte)/.*"
    r"|gradio_api/(info/?|heartbeat/.*|startup-events))",
    re.ASCII,
)
_EVENT = "/gradio_api/run/predict"  # answered by `ui.events`

# Vite names these files by their content: a browser that has one need not ask again.
_HASHED = re.compile(r"/assets/[\w.-]+-[\w-]{8,}\.(js|css|woff2?|svg|png)", re.ASCII)

HEAD = (
    '<meta name="color-scheme" content="light dark">'
    f'<link rel="icon" href="{FILES}/icon.svg" type="image/svg+xml">'
    f'<script src="{FILES}/session.js"></script>'
    f'<script type="module" src="{FILES}/headroom.js"></script>'
)
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOREIGN = re.compile(
    rb"""<meta\s+(?:property|name)="(?:og|twitter):[^>]*>|<link rel="manifest"[^>]*>"""
)


def add(app: FastAPI, settings: Settings, family: str) -> None:
    """Add the page to an application whose service is for these settings and this family."""
    from headroom.ui.facts import facts
    from headroom.ui.login import form
    from headroom.ui.words import Words, table

    async def login(http: HttpRequest) -> Response:
        return HTMLResponse(form(Words.wanted(http.headers.get("accept-language"), settings)))

    async def root() -> Response:
        return RedirectResponse(PATH + "/", 307)

    async def said(language: str) -> Response:
        words = Words.of(language)
        return JSONResponse({**table(words.language), "direction": words.direction})

    async def told() -> Response:
        return JSONResponse(facts(family_named(family)))

    hidden = {"include_in_schema": False}
    app.add_api_route("/", root, **hidden)  # type: ignore[arg-type]
    app.add_api_route(PATH, root, **hidden)  # type: ignore[arg-type]
    app.add_api_route(LOGIN, login, **hidden)  # type: ignore[arg-type]
    app.add_api_route(f"{PATH}/words/{{language}}", said, **hidden)  # type: ignore[arg-type]
    app.add_api_route(f"{PATH}/requests", told, **hidden)  # type: ignore[arg-type]
    app.mount(FILES, _Files(directory=STATIC))
    app.mount(PLAYER, player.files())
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # where none runs, Gradio makes several and closes none
        asyncio.run(_run_now(_add_gradio, app, settings, family))
    else:
        _add_gradio(app, settings, family)


async def _run_now(work: Callable[P, None], *given: P.args, **named: P.kwargs) -> None:
    """Do the work at once, inside a running loop."""
    work(*given, **named)


def _add_gradio(app: FastAPI, settings: Settings, family: str) -> None:
    import gradio

    from headroom.ui import theme
    from headroom.ui.events import Events
    from headroom.ui.page import build
    from headroom.ui.rest import Rest
    from headroom.ui.seen import style

    page = build(Rest(app), settings, family)
    gradio.mount_gradio_app(
        app,
        page,
        PATH,
        footer_links=[],
        run_history=False,
        show_error=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=theme.made(),
        css=style(family_named(family)),
        css_paths=[STATIC / "style.css", STATIC / "songs.css"],
    )
    mounted = app.router.routes[-1]
    mounted.app = _Narrowed(mounted.app, Events(page))  # type: ignore[attr-defined]


class _Files(StaticFiles):
    """Our own files, of the types that browsers need, whatever the system calls them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file."""
        answer = await super().get_response(path, scope)
        kind = _TYPES.get(Path(path).suffix)
        if kind is not None and answer.status_code == 200:
            answer.headers["content-type"] = kind
        answer.headers["cache-control"] = "no-cache"
        return answer


class _Narrowed:
    """Gradio's application, without the routes that the page does not use, with `events` in place
    of its own, with files that browsers may keep, and with the page's own head in place of
    Gradio's, which names other hosts."""

    def __init__(self, app: ASGIApp, events: ASGIApp) -> None:
        self._app, self._events, self._assets = app, events, Assets(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif path == _EVENT:
            await self._events(scope, receive, send)
        elif not _USED.fullmatch(path):
            await PlainTextResponse("there is no such path.", 404)(scope, receive, send)
        elif path == "/":
            await self._app(scope, receive, _Headed(send))
        elif _HASHED.fullmatch(path):
            await self._assets(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _Headed:
    """Sends an HTML page without the elements of its head that concern Gradio alone."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        # Gradio's script would put it there later than its first request goes out.
        body = _FOREIGN.sub(b"", self._body).replace(b"<head>", b"<head>" + HEAD.encode(), 1)
        headers = [one for one in self._start["headers"] if one[0] != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
