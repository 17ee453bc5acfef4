"""What is removed by itself: old jobs, unused uploads, abandoned pieces, bytes without a row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, and_, func, select

from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.files import Files, remove_rows
from headroom.jobs.library import remove_jobs, unused
from headroom.jobs.shelf import remove_songs
from headroom.jobs.songs import UNDO_SECONDS
from headroom.jobs.tables import ENDED, files, jobs, songs
from headroom.jobs.worker import expire_waiting
from headroom.storage.upload import left_over, remove_left_over

_AT_ONCE = 100  # jobs in one transaction: others wait for it
# By this process's own clock: those of the storage and of the database may differ, or be set.
_ORPHAN_SECONDS = 3600.0  # a file is in the storage for a moment before its row is written
_LEFT_SECONDS = 6 * 3600.0  # for which a file on its way in has not grown


@dataclass(frozen=True, slots=True)
class Swept:
    """How many were removed or ended."""

    expired: int = 0  # jobs that waited past their deadline
    jobs: int = 0
    songs: int = 0  # that had been deleted
    files: int = 0  # rows of uploads
    orphans: int = 0  # files of the storage without a row
    left: int = 0  # files that were on their way in when their process died


class Retention:
    """Sweeps now and then. Jobs are removed `age` seconds after they ended, and the oldest as long
    as all files together take more than `quota` bytes; None: no such rule."""

    def __init__(
        self,
        database: Database,
        files: Files,
        clock: Clock = SYSTEM,
        age: float | None = None,
        quota: int | None = None,
    ) -> None:
        self._database, self._files, self._clock = database, files, clock
        self._age, self._quota = age, quota
        # Since when they have been seen, by the steady clock.
        self._orphans: dict[str, float] = {}
        self._left: dict[tuple[Path, int], float] = {}

    def sweep(self) -> Swept:
        """Raises DatabaseFailed, StorageFailed."""
        now = self._clock.wall()
        with self._database.write() as connection:
            expired = expire_waiting(connection, now)
        removed = 0
        self._files.pieces.sweep()
        deleted = self._remove_deleted(now - UNDO_SECONDS)
        if self._age is not None:
            removed += self._remove_old(now - self._age)
        uploads = self._remove_uploads(now)
        if self._quota is not None and self._bytes() > self._quota:
            deleted += self._remove_deleted(now)
            removed += self._remove_until(self._quota)
        orphans = self._remove_orphans()
        return Swept(expired, removed, deleted, uploads, orphans, self._remove_left_over())

    def _remove_deleted(self, before: float) -> int:
        """The songs that were deleted before a time."""
        query = select(songs.c.number).where(songs.c.deleted <= before).limit(_AT_ONCE)
        total = 0
        while True:
            with self._database.write() as connection:
                self._database.alone(connection, "files")
                numbers = list(connection.scalars(query))
                blobs = remove_songs(connection, numbers)
            self._files.drop(blobs)
            total += len(numbers)
            if len(numbers) < _AT_ONCE:
                return total

    def _remove_old(self, before: float) -> int:
        total = 0
        while removed := self._remove_some(_AT_ONCE, before):
            total += removed
        return total

    def _remove_until(self, quota: int) -> int:
        total = 0
        while self._bytes() > quota and (removed := self._remove_some(1, None)):
            total += removed
        return total

    def _remove_some(self, most: int, before: float | None) -> int:
        """The jobs that ended first, if they did so before a time."""
        oldest = select(jobs.c.id).where(jobs.c.state.in_(ENDED)).order_by(jobs.c.ended)
        if before is not None:
            oldest = oldest.where(jobs.c.ended < before)
        with self._database.write() as connection:
            self._database.alone(connection, "files")
            ids = list(connection.scalars(oldest.limit(most)))
            removed, blobs = remove_jobs(connection, ids)
        self._files.drop(blobs)
        return len(removed)

    def _remove_uploads(self, now: float) -> int:
        with self._database.write() as connection:
            self._database.alone(connection, "files")
            before = _count(connection)
            blobs = remove_rows(connection, and_(files.c.expires <= now, unused()))
            removed = before - _count(connection)
        self._files.drop(blobs)
        return removed

    def _bytes(self) -> int:
        each = select(files.c.blob, files.c.size).distinct().subquery()
        with self._database.read() as connection:
            return int(connection.scalar(select(func.sum(each.c.size))) or 0)

    def _remove_orphans(self) -> int:
        """Files of the storage that have had no row for long."""
        stored = [one.key for one in self._files.storage.stored()]
        with self._database.read() as connection:
            named = set(connection.scalars(select(files.c.blob)))
        named |= self._files.pieces.known()
        now = self._clock.steady()
        orphans = {key: self._orphans.get(key, now) for key in stored if key not in named}
        old = [key for key, since in orphans.items() if now - since >= _ORPHAN_SECONDS]
        self._files.drop(old)
        self._orphans = {key: since for key, since in orphans.items() if key not in old}
        return len(old)

    def _remove_left_over(self) -> int:
        """What has been on its way in for long without growing."""
        now = self._clock.steady()
        self._left = {one: self._left.get(one, now) for one in left_over(self._files.storage)}
        old = [one for one, since in self._left.items() if now - since >= _LEFT_SECONDS]
        for path, _ in old:
            remove_left_over(path)
        return len(old)


def _count(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(files)) or 0
