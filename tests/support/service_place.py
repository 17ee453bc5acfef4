"""What the processes of a service share, in a folder of a test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headroom.engine.options import EngineOptions
from headroom.jobs.database import Database
from headroom.jobs.files import Files
from headroom.jobs.library import Library
from headroom.jobs.queue import Queue
from headroom.jobs.schema import open_database
from headroom.jobs.values import Asked
from headroom.service.start import EngineStart
from headroom.settings import load
from headroom.storage.folder import Folder


@dataclass(frozen=True)
class Place:
    """Everything the processes of a service share."""

    folder: Path
    database: Database
    files: Files
    queue: Queue
    library: Library

    def submit(self, family: str = "tone", **fields: object) -> str:
        """The id of a new job; by default one that is quick."""
        return self.queue.submit(Asked(json.dumps({"family": family, "request": fields}))).id

    def start(self, holder: str = "first") -> EngineStart:
        return EngineStart(
            database=self.folder / "jobs.db",
            storage=self.folder / "files",
            staging=self.folder / "staging",
            free_bytes=0,
            holder=holder,
            cards=("cpu",),
            seats=self.folder,
            options=EngineOptions(device="cpu", threads=1),
            settings=load({}),
        )


@contextmanager
def opened(folder: Path) -> Iterator[Place]:
    """A place in a folder."""
    database = open_database(folder / "jobs.db")
    files = Files(database, Folder(folder / "files"), floor=0)
    yield Place(folder, database, files, Queue(database), Library(database, files))
    database.close()
