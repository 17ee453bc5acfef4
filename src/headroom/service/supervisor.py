"""Starts the web process and an engine process for each card or group, and keeps them running.

It takes back the jobs of those that die, and sweeps what is old. When it ends, however it ends, its
children end too. A second supervisor on the same database adds a web process, and an engine process
only for a card that has none.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from threading import Event, Lock, Thread

from headroom.engine.options import EngineOptions
from headroom.errors import DatabaseFailed, StorageFull
from headroom.jobs.roster import Roster
from headroom.jobs.schema import open_database
from headroom.jobs.watch import Watch
from headroom.log import log
from headroom.service.cards import CardName, cards
from headroom.service.child import Child
from headroom.service.config import ServiceConfig
from headroom.service.lifeline import GRACE, spawn
from headroom.service.places import create_folders, seats_of
from headroom.service.start import EngineStart
from headroom.service.upkeep import Upkeep
from headroom.storage.open import open_storage

LOOK_SECONDS = 0.2  # between two looks at the children


class Supervisor:
    """Keeps the processes of a service from `start` to `close`, or within a block.

    `web`: a web process too; without it, whoever starts the supervisor serves the web itself.
    Raises InvalidDatabase, InvalidRequest, DatabaseFailed, StorageFailed.
    """

    def __init__(self, config: ServiceConfig, options: EngineOptions, web: bool = True) -> None:
        self._config, self._options = config, options
        create_folders(config)
        storage = open_storage(config.storage, config.staging)
        self._database = open_database(config.database)
        Roster(self._database).begin()
        self._watch = Watch(self._database)
        self._upkeep = Upkeep(config, self._database, storage)
        self._over = Event()
        self._dead: set[str] = set()  # holders whose jobs are still to be taken back
        self._busy = Lock()  # while children are started or ended
        self._children = [Child("web process", self._start_web)] if web else []
        works = (self._look_after, self._find_cards)
        self._threads = [Thread(target=work, name=work.__name__, daemon=True) for work in works]

    def start(self) -> None:
        """Start all processes, in threads of this one."""
        self._upkeep.start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End all processes; jobs at work are given back. Returns when all have ended."""
        self._over.set()
        with self._busy:
            for child in self._children:
                child.end()
            until = time.monotonic() + GRACE
            for child in self._children:
                child.wait(until)
        self._take_back()
        for thread in self._threads:
            # `_find_cards` uses nothing that is closed here.
            if thread.is_alive() and thread.name != self._find_cards.__name__:
                thread.join(GRACE)
        self._upkeep.close()
        self._database.close()

    def __enter__(self) -> Supervisor:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _look_after(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with self._busy:
                if not self._over.is_set():
                    for child in tuple(self._children):
                        child.look()
            self._take_back()

    def _take_back(self) -> None:
        """Put the jobs of processes that have ended back into the queue, now or later."""
        for holder in sorted(self._dead):
            try:
                self._watch.take_back(holder)
            except (DatabaseFailed, StorageFull) as error:
                log.warning("the jobs of a process that has ended: %s", error)
                return
            self._dead.discard(holder)

    def _start_web(self) -> subprocess.Popen[bytes]:
        return spawn("headroom.service.web_process", self._config)

    def _find_cards(self) -> None:
        settings = self._config.settings.under(self._options)
        for card in cards(settings.device, settings.service_cards):
            self._children.append(_Working(self, card).child)

    def start_engine(self, card: CardName, holder: str) -> subprocess.Popen[bytes] | None:
        """Start an engine process, unless one of its cards has one."""
        config = self._config
        start = EngineStart(
            database=config.database,
            storage=config.storage,
            staging=config.staging,
            free_bytes=config.free_bytes,
            holder=holder,
            cards=card.identities,
            seats=seats_of(config),
            options=EngineOptions.model_validate({**self._options.given, "device": card.word}),
            settings=config.settings,
        )
        return spawn("headroom.service.engine_process", start) if start.seat().is_free() else None

    def bury(self, holder: str) -> None:
        """Take back the jobs of a process that has ended."""
        self._dead.add(holder)


class _Working:
    """The engine process of a card, under a new name each time that it is started."""

    def __init__(self, supervisor: Supervisor, card: CardName) -> None:
        self._supervisor, self._card, self._holder = supervisor, card, ""
        self.child = Child(f"engine process of {card.word}", self._start, self._ended)

    def _start(self) -> subprocess.Popen[bytes] | None:
        self._holder = f"{self._card.word}-{secrets.token_hex(8)}"
        return self._supervisor.start_engine(self._card, self._holder)

    def _ended(self) -> None:
        self._supervisor.bury(self._holder)
