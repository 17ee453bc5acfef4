"""A page with nothing but the player, under a strict policy, and two versions of a song."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import soundfile
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from headroom.ui.player import files

SECONDS, BPM = 40.0, 120.0
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-test'; media-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_HERE = Path(__file__).parent
LABELS = {
    "play": "Play", "pause": "Pause", "position": "Position", "time": "{time} of {whole}",
    "waveform": "Waveform of {name}", "versions": "Versions", "version": "Version {letter}: {name}",
    "equal": "Equal loudness", "gain": "{gain} dB", "zoomIn": "Zoom in", "zoomOut": "Zoom out",
    "regions": "Parts to change", "region": "Part {number}",
    "regionStart": "Start of part {number}", "regionEnd": "End of part {number}",
    "add": "Add a part",
    "remove": "Remove part {number}",
    "snap": "Snap to beats ({tempo} BPM)",
    "hint": "Drag over the waveform to choose what to change.",
    "lyrics": "Lyrics", "downloads": "Downloads", "error": "The sound cannot be played.",
}  # fmt: skip
HEBREW = {
    "play": "נגן", "pause": "השהה", "position": "מיקום", "time": "{time} מתוך {whole}",
    "waveform": "צורת הגל של {name}", "versions": "גרסאות", "version": "גרסה {letter}: {name}",
    "equal": "עוצמה שווה", "gain": "{gain} dB", "zoomIn": "הגדל", "zoomOut": "הקטן",
    "regions": "קטעים לשינוי", "region": "קטע {number}", "regionStart": "תחילת קטע {number}",
    "regionEnd": "סוף קטע {number}", "add": "הוסף קטע", "remove": "הסר קטע {number}",
    "snap": "הצמד לפעימות ({tempo} BPM)", "hint": "גררו על צורת הגל כדי לבחור מה לשנות.",
    "lyrics": "מילים", "downloads": "הורדות", "error": "לא ניתן לנגן.",
}  # fmt: skip


def song(level: float) -> np.ndarray:
    """Beats that swell, as one channel."""
    time = np.arange(int(8000 * SECONDS)) / 8000
    swell = 0.35 + 0.65 * np.abs(np.sin(time / 5) * np.cos(time / 2.3))
    return level * swell * np.exp(-2.5 * (time % (60 / BPM))) * np.sin(2 * np.pi * 220 * time)


def peaks(level: float, loudness: float | None, points: int = 800) -> dict[str, Any]:
    """What the service tells of such a song."""
    parts = song(level).reshape(points, -1)
    lines = [("Over the hills and far away", 6.0), ("I heard the river call my name", 9.0),
             ("And all the lights came down", 20.0), ("To the same refrain", 24.0)]  # fmt: skip
    return {
        "seconds": SECONDS, "loudness": loudness, "tempo": BPM,
        "top": parts.max(axis=1).round(3).tolist(), "bottom": parts.min(axis=1).round(3).tolist(),
        "lines": [{"text": text, "start": at, "end": at + 2.5} for text, at in lines],
        "sections": [{"text": "Verse 1", "start": 6.0, "end": 20.0},
                     {"text": "Chorus", "start": 20.0, "end": SECONDS}],
    }  # fmt: skip


def options(two: bool = False, edit: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """What `mount` takes."""
    names = ["First take", "Brighter second take"]
    versions = [
        {"name": names[n], "url": f"/song{n}.wav", "peaks": peaks(*known),
         "downloads": [{"label": f"{names[n]} · WAV", "url": f"/song{n}.wav", "name": f"{n}.wav"}]}
        for n, known in enumerate(((0.9, -12.0), (0.3, -21.5)))
    ]  # fmt: skip
    return {
        "versions": versions[: 2 if two else 1], "labels": LABELS,
        "edit": None if edit is None else dict(edit), **more,
    }  # fmt: skip


def _wav(level: float) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, song(level), 8000, format="WAV")
    return out.getvalue()


def _part(request: Request, data: bytes) -> Response:
    """Browsers seek only where ranges are served."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    headers = {"Accept-Ranges": "bytes"}
    if asked is None:
        return Response(data, 200, headers, "audio/wav")
    start, stop = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
    return Response(data[start:stop], 206, headers, "audio/wav")


def _app() -> Starlette:
    songs = [_wav(level) for level in (0.9, 0.3)]
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript"}

    async def page(request: Request) -> Response:
        kind = request.path_params.get("kind", "html")
        data = (_HERE / f"player_page.{kind}").read_bytes()
        return Response(data, 200, {"Content-Security-Policy": POLICY}, kinds[kind])

    async def sound(request: Request) -> Response:
        return _part(request, songs[request.path_params["n"]])

    return Starlette(
        routes=[
            Route("/", page),
            Route("/page.{kind}", page),
            Route("/song{n:int}.wav", sound),
            Mount("/player", files()),
        ]
    )


@contextmanager
def site() -> Iterator[str]:
    """The address of the page, which is served until the block ends."""
    config = uvicorn.Config(_app(), host="127.0.0.1", port=0, log_level="error")
    config.load()
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
        socket.close()
