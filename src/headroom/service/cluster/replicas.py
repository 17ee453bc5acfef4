"""The parts of the service as replicas of Ray Serve: the web application, and engines.

Nothing passes between them but rows and files, as between the processes of one machine. A replica
of engines claims jobs by itself; Serve starts it, asks whether it lives, and ends it.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from fastapi import FastAPI

from headroom.engine.options import EngineOptions
from headroom.hardware.machine import Machine
from headroom.jobs.files import Files
from headroom.jobs.queue import Queue
from headroom.jobs.schema import open_database
from headroom.jobs.worker import Worker
from headroom.log import log, show
from headroom.service.app import create_app
from headroom.service.config import ServiceConfig
from headroom.service.lifeline import GRACE
from headroom.service.machine import Examined
from headroom.service.places import create_folders
from headroom.service.upkeep import Upkeep
from headroom.storage.open import open_storage

_MACHINE_SECONDS = 120.0  # for a replica to examine its machine, torch's start included


class WebReplica:
    """Answers over HTTP, and looks after the database and the storage: each replica does, so that
    none is missed. `engines`: Serve's handle of the engines. Imports no torch."""

    def __init__(self, config: ServiceConfig, engines: Any) -> None:
        self._end = ExitStack()
        show("INFO")
        create_folders(config)
        self._config, self._machine = config, _MachineOfEngines(engines)
        self._closing = Event()
        database = open_database(config.database)
        self._end.callback(database.close)
        storage = open_storage(config.storage, config.staging)
        self._upkeep = Upkeep(config, database, storage)
        self._upkeep.start()
        self._end.callback(self._upkeep.close)
        self._end.callback(self._closing.set)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application that Serve hands requests to."""
        return create_app(self._config, self._machine, self._closing)

    def check_health(self) -> None:
        """Called by Serve, which replaces the replica if this raises."""
        if not self._upkeep.is_alive:
            raise RuntimeError("a thread that looks after the database has ended")

    def __del__(self) -> None:
        """Called by Serve at the end of the replica."""
        self._end.close()


@dataclass(slots=True)
class _MachineOfEngines:
    """The machine that plans are made for: the one of an engine, which is asked once."""

    engines: Any
    _known: Machine | None = None

    def __call__(self) -> Machine | None:
        if self._known is None:
            try:
                self._known = self.engines.machine.remote().result(timeout_s=_MACHINE_SECONDS)
            except TimeoutError:
                log.warning("no engine has told of its machine yet")
        return self._known


class EngineReplica:
    """Works on jobs with the card that Ray has given to it, in a thread; its name in the database
    is new each time. Raises InvalidDatabase, DatabaseFailed, StorageFailed, InvalidRequest."""

    def __init__(self, config: ServiceConfig, options: EngineOptions) -> None:
        self._end = ExitStack()
        show("INFO")
        create_folders(config)
        database = open_database(config.database)
        self._end.callback(database.close)
        self._queue = Queue(database)
        storage = open_storage(config.storage, config.staging)
        files = Files(database, storage, floor=config.free_bytes)
        from headroom.service.maker import Engines, Maker  # with torch

        self._engines = Engines(options, config.settings)
        self._end.callback(self._engines.close)
        worker = Worker(database, f"replica-{secrets.token_hex(8)}")
        stop = Event()
        maker = Maker(worker, files, self._engines, config.settings, stop)
        self._examined = Examined(config.settings)
        self._thread = Thread(target=maker.run, name="maker", daemon=True)
        self._thread.start()
        self._end.callback(self._thread.join, GRACE)
        self._end.callback(stop.set)

    async def machine(self) -> Machine | None:
        """The machine of this replica."""
        return await asyncio.to_thread(self._examined)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Serve: what `scaling.engines_wanted` decides by."""
        load = await asyncio.to_thread(self._queue.load)
        return {"waiting": load.waiting, "running": load.running}

    def check_health(self) -> None:
        """Called by Serve, which replaces the replica if this raises."""
        if not self._thread.is_alive():
            raise RuntimeError("the thread that works on jobs has ended")
        if not self._engines.have_a_device:
            raise RuntimeError("the device does not answer any more")

    def __del__(self) -> None:
        """Called by Serve at the end of the replica: the job at work is given back."""
        self._end.close()
