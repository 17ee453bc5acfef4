"""Takes back the jobs of workers that have died, and sweeps what is old, in threads of its own.

Several may run on one database, on any number of machines: what one of them has done, no other does
again.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from headroom.errors import DatabaseFailed, StorageFailed, StorageFull
from headroom.jobs.database import Database
from headroom.jobs.files import Files
from headroom.jobs.retention import Retention
from headroom.jobs.watch import Watch
from headroom.log import log
from headroom.service.config import ServiceConfig
from headroom.service.lifeline import GRACE
from headroom.storage.base import Storage

WATCH_SECONDS = 5.0  # between two looks at heartbeats
SWEEP_SECONDS = 60.0


class Upkeep:
    """Looks after a database and a storage from `start` to `close`. A database or a storage that
    fails for a while is tried again."""

    def __init__(self, config: ServiceConfig, database: Database, storage: Storage) -> None:
        files = Files(database, storage, floor=config.free_bytes)
        keep, quota = config.keep_seconds, config.quota_bytes
        retention = Retention(database, files, age=keep, quota=quota)
        self._over = Event()
        self._threads = [
            self._thread("heartbeats", WATCH_SECONDS, Watch(database).look),
            self._thread("sweeping", SWEEP_SECONDS, retention.sweep),
        ]

    @property
    def is_alive(self) -> bool:
        """Whether both threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the threads. Returns when they have ended, or after GRACE seconds each."""
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(GRACE)

    def _thread(self, name: str, seconds: float, work: Callable[[], object]) -> Thread:
        def again() -> None:
            while not self._over.wait(seconds):
                try:
                    work()
                except (DatabaseFailed, StorageFailed, StorageFull) as error:
                    log.warning("%s: %s", name, error)

        return Thread(target=again, name=name, daemon=True)
