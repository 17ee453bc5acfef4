"""A process that works on jobs until it is killed: `python job_worker.py DATABASE FOLDER NAME`.

A fourth argument names the moment at which it kills itself, one of MOMENTS.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from sqlalchemy import event

from headroom.jobs.database import Database
from headroom.jobs.files import Files
from headroom.jobs.schema import open_database
from headroom.jobs.values import Made, Told
from headroom.jobs.worker import Worker
from headroom.storage.folder import Folder

MOMENTS = (
    "before the claim is on disk",
    "after the claim",
    "with bytes in the storage and no row",
    "after the file",
    "before the end is on disk",
    "after the end",
)


def die() -> None:
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def die_before_commit(database: Database) -> None:
    event.listen(database.engine, "commit", lambda connection: die())


def work(database: Database, folder: Path, name: str, moment: str) -> None:
    files = Files(database, Folder(folder), floor=0)
    worker = Worker(database, name)
    if moment == MOMENTS[0]:
        die_before_commit(database)
    while True:
        claim = worker.claim()
        if claim is None:
            time.sleep(0.02)
            continue
        if moment == MOMENTS[1]:
            die()
        worker.tell(claim, [Told('"begun"'), Told('"step"', passing=True)])
        for _ in range(3):
            time.sleep(random.uniform(0, 0.02))
            if worker.beat(claim) != "go":
                break
        if moment == MOMENTS[2]:
            die_before_commit(database)
        with files.receive(claim.key, "song") as incoming:
            incoming.write(claim.job.encode())
            file = incoming.keep("text/plain")
        if moment == MOMENTS[3]:
            die()
        if moment == MOMENTS[4]:
            die_before_commit(database)
        worker.finish(claim, '"finished"', [Made(file.id)])
        if moment == MOMENTS[5]:
            die()


if __name__ == "__main__":
    work(
        open_database(sys.argv[1]),
        Path(sys.argv[2]),
        sys.argv[3],
        sys.argv[4] if len(sys.argv) > 4 else "",
    )
