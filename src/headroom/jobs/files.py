"""Files by id: what people sent and what jobs made. The bytes are in a storage, the rows here.

Bytes come first: a row always has its bytes, and bytes without a row, left by a process that died
in between, are swept by `Retention`. Equal bytes are stored once; each row still has its own id,
owner and end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, insert, select, true

from headroom.errors import Conflict, StorageFailed, UnknownId
from headroom.files import open_regular
from headroom.jobs import texts
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.pieces import Pieces
from headroom.jobs.tables import files, inputs, outputs
from headroom.storage.base import PIECE, Storage
from headroom.storage.probe import MOST_SECONDS, probe
from headroom.storage.upload import FLOOR, UPLOAD_BYTES, Upload, check_room, upload

KEPT = 24 * 3600.0  # seconds that an upload is kept which no job is using


@dataclass(frozen=True, slots=True)
class File:
    """A file; times in seconds since 1970.

    hash     SHA-256, hexadecimal
    name     what who sent it calls it; for people only
    kind     media type
    seconds  of sound; None for a file that holds none
    expires  when it is removed; None: with the job that made it
    """

    id: str
    hash: str
    size: int
    name: str
    kind: str
    seconds: float | None
    owner: str
    created: float
    expires: float | None


_FILE = tuple(files.c[field.name] for field in fields(File))


class Incoming:
    """A file on its way in. Made by `Files.receive`."""

    def __init__(self, files: Files, upload: Upload, owner: str, name: str) -> None:
        self._files, self._upload, self._owner, self._name = files, upload, owner, name

    def rename(self, name: str) -> None:
        """Take another name, as that of a file in a form comes after its first bytes."""
        self._name = texts.line(name)

    def write(self, data: bytes) -> None:
        """Add some bytes. Raises TooLarge, StorageFull, StorageFailed."""
        self._upload.write(data)

    def accept(self, seconds: float = MOST_SECONDS) -> File:
        """Examine it, and keep it if it is audio of at most `seconds`. Raises InvalidSource."""
        digest = self._upload.close()
        sound = probe(self._upload.path, self._name, most=seconds)
        return self._files.record(
            self._upload, digest, self._name, sound.kind, sound.seconds, self._owner, KEPT
        )

    def keep(self, kind: str, seconds: float | None = None) -> File:
        """Keep it as what it is known to be, for a job that will name it as an output."""
        digest = self._upload.close()
        return self._files.record(
            self._upload, digest, self._name, kind, seconds, self._owner, KEPT
        )


class Files:
    """Files of a storage, and their rows. `owner` is the key that asks, None for one who may see
    all; a file of another key does not exist. `pieces`: what is to be heard of songs at work."""

    def __init__(
        self, database: Database, storage: Storage, clock: Clock = SYSTEM, floor: int = FLOOR
    ) -> None:
        self._database, self.storage, self._clock = database, storage, clock
        self._floor = floor
        self.pieces = Pieces(database, storage, floor)

    def check_room(self) -> None:
        """Raises StorageFull if too little of the disk is free, for jobs as for files."""
        check_room(self.storage, self._floor)

    @contextmanager
    def receive(self, owner: str, name: str, most: int = UPLOAD_BYTES) -> Iterator[Incoming]:
        """A file of at most `most` bytes to be written and then accepted or kept; without that,
        nothing is left of it. Raises StorageFull, StorageFailed."""
        with upload(self.storage, "file", most, self._floor) as one:
            yield Incoming(self, one, owner, texts.line(name))

    def add(
        self, path: Path, owner: str, name: str, kind: str, seconds: float | None = None
    ) -> File:
        """Keep a copy of a local file, for a job that will name it as an output.

        Raises InvalidFile, StorageFull, StorageFailed.
        """
        with open_regular(path) as source, self.receive(owner, name, sys.maxsize) as incoming:
            while piece := source.read(PIECE):
                incoming.write(piece)
            return incoming.keep(kind, seconds)

    def record(
        self,
        upload: Upload,
        digest: str,
        name: str,
        kind: str,
        seconds: float | None,
        owner: str,
        kept: float,
    ) -> File:
        """Put the bytes into the storage, unless it has them, and a row into the database."""
        now = self._clock.wall()
        file = File(
            texts.new_id(), digest, upload.size, name, kind, seconds, owner, now, now + kept
        )
        values = {field.name: getattr(file, field.name) for field in fields(File)}
        stored: list[str] = []  # by this call; dropped unless the row refers to it
        if not self._known(digest):
            stored.append(self.storage.take(upload.path))
        with ExitStack() as undo:
            undo.callback(self.drop, stored)
            while True:
                with self._database.write() as connection:
                    self._database.alone(connection, "files")
                    blob = connection.scalar(_with_hash(digest)) or next(iter(stored), None)
                    if blob is not None:
                        connection.execute(insert(files).values(**values, blob=blob))
                        break
                # The file with these bytes was removed meanwhile.
                stored.append(self.storage.take(upload.path))
            if blob in stored:
                undo.pop_all()
        return file

    def get(self, id: str, owner: str | None = None) -> File:
        """Raises UnknownId."""
        with self._database.read() as connection:
            row = connection.execute(select(*_FILE).where(files.c.id == id, _own(owner))).first()
        if row is None:
            raise UnknownId("file", id)
        return File(*row)

    def read(
        self, id: str, owner: str | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, not included. Raises UnknownId, StorageFailed."""
        return self.storage.read(self._blob(id, owner), start, stop)

    def local(self, id: str, owner: str | None = None) -> AbstractContextManager[Path]:
        """A file of this machine with the bytes, only to be read and only within the block.
        Raises UnknownId, StorageFailed."""
        return self.storage.local(self._blob(id, owner))

    def delete(self, id: str, owner: str | None = None) -> None:
        """Raises UnknownId; Conflict for the output of a job and for what a job still needs."""
        with self._database.write() as connection:
            self._database.alone(connection, "files")
            row = connection.execute(select(files.c.id).where(files.c.id == id, _own(owner)))
            if row.first() is None:
                raise UnknownId("file", id)
            if connection.scalar(select(exists().where(outputs.c.file == id))):
                raise Conflict("file", id, "is the output of a job: delete the job")
            if connection.scalar(select(exists().where(inputs.c.file == id))):
                raise Conflict("file", id, "is needed by a job that has not ended")
            blobs = remove_rows(connection, files.c.id == id)
        self.drop(blobs)

    def drop(self, blobs: list[str]) -> None:
        """Remove bytes that no row names any more. What cannot be removed now is swept later."""
        for blob in blobs:
            with suppress(StorageFailed):
                self.storage.delete(blob)

    def _known(self, digest: str) -> bool:
        with self._database.read() as connection:
            return connection.scalar(_with_hash(digest)) is not None

    def _blob(self, id: str, owner: str | None) -> str:
        with self._database.read() as connection:
            blob = connection.scalar(select(files.c.blob).where(files.c.id == id, _own(owner)))
        if blob is None:
            raise UnknownId("file", id)
        return str(blob)


def remove_rows(connection: Connection, which: ColumnElement[bool]) -> list[str]:
    """Delete rows of files; the bytes that no other row names. The caller is `alone` with files."""
    gone = set(connection.scalars(delete(files).where(which).returning(files.c.blob)))
    if not gone:
        return []
    left = connection.scalars(select(files.c.blob).where(files.c.blob.in_(gone)))
    return sorted(gone - set(left))


def _own(owner: str | None) -> ColumnElement[bool]:
    return true() if owner is None else files.c.owner == owner


def _with_hash(digest: str) -> Select[tuple[str]]:
    return select(files.c.blob).where(files.c.hash == digest).limit(1)
