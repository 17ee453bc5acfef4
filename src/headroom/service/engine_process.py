"""The process that makes what jobs ask for, on one card or on a group of cards.

The supervisor starts it as `python -m headroom.service.engine_process`; it outlives that by no more
than the end of its work.
"""

from __future__ import annotations

import sys
from threading import Event

from headroom.errors import DatabaseFailed, StorageFull
from headroom.jobs.database import Database
from headroom.jobs.files import Files
from headroom.jobs.schema import open_database
from headroom.jobs.watch import Watch
from headroom.jobs.worker import Worker
from headroom.log import log, show
from headroom.service.lifeline import attached
from headroom.service.priority import give_way
from headroom.service.start import SEAT_TAKEN, EngineStart
from headroom.storage.open import open_storage

PAUSE_SECONDS = 1.0  # before the database is asked again


def main() -> int:
    """Work on jobs until the parent ends; the exit code. Raises what a start that is wrong does."""
    show("INFO")
    stop = Event()
    start = attached(stop)
    assert isinstance(start, EngineStart)
    seat = start.seat()
    last = seat.take(start.holder)
    if last is None:
        return SEAT_TAKEN
    give_way(start.settings.under(start.options).device)
    database = open_database(start.database)
    for name in last:
        take_back(database, name, stop)
    files = Files(database, open_storage(start.storage, start.staging), floor=start.free_bytes)
    from headroom.engine.management import ENABLED
    from headroom.service.maker import Engines, Maker  # with torch

    if start.settings.under(start.options).gpu_management:
        log.warning(ENABLED)
    engines = Engines(start.options, start.settings)
    try:
        Maker(Worker(database, start.holder), files, engines, start.settings, stop).run()
    finally:
        engines.close()
        database.close()
        seat.leave()
    return 0


def take_back(database: Database, holder: str, stop: Event) -> None:
    """Put the jobs of a process that has died back into the queue, once the database and its disk
    allow it."""
    while not stop.is_set():
        try:
            Watch(database).take_back(holder)
        except (DatabaseFailed, StorageFull) as error:
            log.warning("the jobs of a process that has ended: %s", error)
            stop.wait(PAUSE_SECONDS)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
