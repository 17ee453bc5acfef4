"""The player of the page, as files for a browser: modules and styles that need no build.

wavesurfer.js 8.0.1 and its plugin for regions are unchanged copies of what npm has; their licence
(BSD 3-Clause) is beside them.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

_FOLDER = Path(__file__).parent
_TYPES = MappingProxyType({".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"})


def files() -> ASGIApp:
    """An application that serves the player, to be mounted under any path; `player.js` is the
    module to import. It serves the files that are there now, and nothing else."""
    known = {one.name: one for one in _FOLDER.iterdir() if one.suffix in _TYPES}

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        answer: Response = PlainTextResponse("there is no such file.", 404)
        name = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix("/")
        if scope["method"] not in ("GET", "HEAD"):
            answer = PlainTextResponse("files are only read.", 405, {"Allow": "GET, HEAD"})
        elif (path := known.get(name)) is not None:
            kind = f"{_TYPES[path.suffix]}; charset=utf-8"
            headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
            answer = FileResponse(path, headers=headers, media_type=kind)
        await answer(scope, receive, send)

    return serve
