"""A service that listens on a port of this machine, with a maker of its own, all in the test's
process; it can be stopped and started again at the same place."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import uvicorn

from headroom.engine.options import EngineOptions
from headroom.hardware.machine import card
from headroom.jobs.worker import Worker
from headroom.service.app import create_app
from headroom.service.config import ServiceConfig, from_settings
from headroom.service.doors import Doors
from headroom.settings import load


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@dataclass
class Live:
    """A service at `url`, whose database and files stay while it is away."""

    config: ServiceConfig
    port: int = 0
    doors: Doors | None = None
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None
    _closing: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; at the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._closing = Event()
        app = create_app(self.config, lambda: card(8), self._closing)
        options = uvicorn.Config(
            app, log_level="critical", proxy_headers=False, timeout_graceful_shutdown=1
        )
        self._server = server = uvicorn.Server(options)
        self._thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        wait_for(lambda: server.started)
        self.doors = app.state.doors

    def stop(self) -> None:
        """Be away: streams end, and nobody listens."""
        assert self._server is not None and self._thread is not None
        self._closing.set()
        self._server.should_exit = True
        self._thread.join()

    def worker(self, holder: str = "pretended") -> Worker:
        """The side of an engine process, for a test to play."""
        assert self.doors is not None
        return Worker(self.doors.database, holder)

    @contextmanager
    def working(self) -> Iterator[None]:
        """An engine process that works on the jobs, as a thread."""
        from headroom.jobs.files import Files
        from headroom.jobs.schema import open_database
        from headroom.service.maker import Engines, Maker
        from headroom.storage.open import open_storage

        config = self.config
        database = open_database(config.database)
        files = Files(database, open_storage(config.storage, config.staging), floor=0)
        engines = Engines(EngineOptions(device="cpu", threads=1), config.settings)
        maker = Maker(Worker(database, "live"), files, engines, config.settings, Event())
        thread = threading.Thread(target=maker.run)
        thread.start()
        try:
            yield
        finally:
            maker.stop.set()
            thread.join()
            engines.close()
            database.close()


@contextmanager
def live(
    folder: Path,
    family: str = "tone",
    settings: Mapping[str, str] | None = None,
    **changed: object,
) -> Iterator[Live]:
    """A service in a folder, which is stopped at the end."""
    places = {"HEADROOM_DATA_DIR": str(folder), "HEADROOM_CACHE_DIR": str(folder / "cache")}
    known = load({**places, **(settings or {})})
    config = replace(from_settings(known, family), free_bytes=0, host="127.0.0.1", **changed)  # type: ignore[arg-type]
    one = Live(config)
    one.start()
    try:
        yield one
    finally:
        one.stop()
