"""An application that runs in a test, who calls it, and an engine process that only pretends."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import numpy as np
import soundfile
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from headroom.engine.options import EngineOptions
from headroom.engine.wire import error_json
from headroom.errors import RenderFailed
from headroom.jobs.values import Claim, Made, Told
from headroom.jobs.worker import Worker
from headroom.service.doors import Doors

HERE = "http://127.0.0.1:8001"
SONG = {"task": "text2music", "caption": "a song"}


@dataclass
class Service:
    """An application that runs, and who calls it from this machine."""

    app: FastAPI
    client: TestClient

    @property
    def doors(self) -> Doors:
        doors: Doors = self.app.state.doors
        return doors

    def client_at(self, address: str, host: str = "cellar.lan", **headers: str) -> TestClient:
        """Who calls from another address, under another name."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return TestClient(
            self.app,
            base_url=f"http://{host}:8001",
            headers=names,
            client=(address, 4000),
            raise_server_exceptions=False,
        )

    def key(self, *scopes: str, waiting: int | None = None) -> tuple[str, str]:
        """A new key: its id and its secret."""
        key, secret = self.doors.keys.create("test", scopes or ("use",), waiting)
        return key.id, secret

    def submit(self, **more: str) -> str:
        answer = self.client.post("/v1/jobs", json=SONG, headers=more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


Start = Callable[..., Service]


def wav(seconds: float = 1.0) -> bytes:
    """A short tone as a file."""
    out = io.BytesIO()
    tone = 0.1 * np.sin(np.arange(int(8000 * seconds)) / 3)
    soundfile.write(out, tone, 8000, format="WAV")
    return out.getvalue()


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The address of an application that listens at a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def made(doors: Doors) -> Iterator[None]:
    """Jobs are made meanwhile, by a thread of this process, on its processor."""
    from headroom.service.maker import Engines, Maker  # with torch

    engines = Engines(EngineOptions(device="cpu", threads=1), doors.config.settings)
    worker = Worker(doors.database, "of a test")
    maker = Maker(worker, doors.files, engines, doors.config.settings, Event())
    thread = threading.Thread(target=maker.run)
    thread.start()
    try:
        yield
    finally:
        maker.stop.set()
        thread.join()
        engines.close()


tones_made = made  # of the family `tone`


class Engine:
    """An engine process that makes a tone of everything."""

    def __init__(self, doors: Doors) -> None:
        self.doors, self.worker = doors, Worker(doors.database, "pretended")

    def claim(self) -> Claim:
        claim = self.worker.claim()
        assert claim is not None
        return claim

    def tell(self, claim: Claim, *steps: int, passing: bool = False) -> None:
        events = [json.dumps({"event": "progress", "done": step}) for step in steps]
        self.worker.tell(claim, [Told(one, passing) for one in events])

    def finish(self, claim: Claim, result: str = "{}") -> None:
        with self.doors.files.receive(claim.key, "song.wav") as incoming:
            incoming.write(wav())
            file = incoming.keep("audio/wav", 1.0)
        self.worker.finish(claim, result, [Made(file.id, "A song")])

    def fail(self, claim: Claim) -> None:
        self.worker.fail(claim, json.dumps(error_json(RenderFailed("no sound"))))
