"""Sound of songs that are being decoded, in pieces, to be heard before the songs are done.

A piece is 16-bit samples, interleaved, little-endian: its row is here, its bytes are in the
storage. Pieces belong to one attempt at a job. They are removed when it ends; `sweep` removes those
of a worker that died. Bytes come first, as with files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, exists, insert, select

from headroom.errors import ClaimLost, StorageFailed, UnknownId
from headroom.jobs.database import Database
from headroom.jobs.rows import held, one_job
from headroom.jobs.tables import jobs, pieces
from headroom.jobs.values import Claim
from headroom.storage.base import Storage
from headroom.storage.upload import upload

WIDTH = 2  # bytes of a sample


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples of a song: `song` counts from 0, `start` is the first of them in the song; `data`
    holds `channels` · n samples."""

    song: int
    start: int
    channels: int
    rate: int
    data: bytes

    @property
    def frames(self) -> int:
        """Samples of each channel."""
        return len(self.data) // (WIDTH * self.channels)


@dataclass(frozen=True, slots=True)
class Heard:
    """What is decoded of a song: `frames` samples of each channel, from its beginning.

    name   of this state of it, which no other has
    blobs  keys of the storage with the bytes of each, in order
    """

    name: str
    channels: int
    rate: int
    frames: int
    blobs: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(size for _, size in self.blobs)


class Pieces:
    """The pieces of a database and a storage. `floor` bytes of the disk stay free."""

    def __init__(self, database: Database, storage: Storage, floor: int) -> None:
        self._database, self._storage, self._floor = database, storage, floor

    def add(self, claim: Claim, piece: Piece) -> None:
        """Keep a piece. One that begins a song anew replaces what was kept of that song.

        Raises ClaimLost, StorageFull, StorageFailed, DatabaseFailed; then nothing is kept of it.
        """
        if piece.start == 0:
            self._remove(and_(_of(claim), pieces.c.song == piece.song))
        with upload(self._storage, "preview", len(piece.data), self._floor) as one:
            one.write(piece.data)
            one.close()
            blob = self._storage.take(one.path)
        written = False
        try:
            with self._database.write() as connection:
                if not connection.scalar(select(exists().where(held(claim)))):
                    raise ClaimLost(claim.job, claim.attempt)
                values = {"job": claim.job, "attempt": claim.attempt, "blob": blob}
                for name in ("song", "start", "frames", "channels", "rate"):
                    values[name] = getattr(piece, name)
                connection.execute(insert(pieces).values(values))
            written = True
        finally:
            if not written:
                self._drop([blob])

    def heard(self, job: str, song: int, owner: str | None = None) -> Heard:
        """What can be heard of a song of a job at work. Raises UnknownId, also where nothing can be
        heard yet, or any more."""
        columns = (pieces.c[n] for n in ("start", "frames", "channels", "rate", "blob"))
        query = select(*columns).where(pieces.c.job == job, pieces.c.song == song)
        with self._database.read() as connection:
            now = one_job(connection, job, owner)
            if now.state != "running":
                raise UnknownId("preview", f"{job}/{song + 1}")
            query = query.where(pieces.c.attempt == now.attempt)
            rows = connection.execute(query.order_by(pieces.c.start)).all()
        frames, blobs = 0, []
        for row in rows:
            if row.start != frames:
                break
            frames += row.frames
            blobs.append((row.blob, row.frames * row.channels * WIDTH))
        if not blobs:
            raise UnknownId("preview", f"{job}/{song + 1}")
        name = f"{job}-{now.attempt}-{song}-{frames}-{blobs[0][0][:8]}"
        return Heard(name, rows[0].channels, rows[0].rate, frames, tuple(blobs))

    def read(self, heard: Heard, start: int, stop: int) -> Iterator[bytes]:
        """Bytes of the samples from `start` up to `stop`, not included. Raises StorageFailed."""
        at = 0
        for blob, size in heard.blobs:
            first, last = max(start - at, 0), min(stop - at, size)
            if first < last:
                yield from self._storage.read(blob, first, last)
            at += size

    def remove(self, claim: Claim) -> None:
        """Remove what this attempt kept. Raises DatabaseFailed."""
        self._remove(_of(claim))

    def sweep(self) -> int:
        """Remove the pieces of attempts that nobody works on; how many. Raises DatabaseFailed."""
        at_work = and_(jobs.c.id == pieces.c.job, jobs.c.attempt == pieces.c.attempt)
        return self._remove(~exists().where(at_work, jobs.c.state == "running"))

    def known(self) -> set[str]:
        """The keys of the storage that have bytes of pieces. Raises DatabaseFailed."""
        with self._database.read() as connection:
            return set(connection.scalars(select(pieces.c.blob)))

    def _remove(self, which: ColumnElement[bool]) -> int:
        with self._database.read() as connection:  # most of the time there are none
            if connection.scalar(select(pieces.c.blob).where(which).limit(1)) is None:
                return 0
        with self._database.write() as connection:
            gone = list(connection.scalars(delete(pieces).where(which).returning(pieces.c.blob)))
        self._drop(gone)
        return len(gone)

    def _drop(self, blobs: list[str]) -> None:
        """Remove bytes; what cannot be removed now is swept later, as no row names it."""
        for blob in blobs:
            with suppress(StorageFailed):
                self._storage.delete(blob)


def _of(claim: Claim) -> ColumnElement[bool]:
    return and_(pieces.c.job == claim.job, pieces.c.attempt == claim.attempt)
