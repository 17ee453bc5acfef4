"""Songs for tests of the library, made by jobs as songs are."""

from __future__ import annotations

from headroom.jobs.clock import Clock
from headroom.jobs.database import Database
from headroom.jobs.files import File, Files
from headroom.jobs.queue import Queue
from headroom.jobs.songs import Song, Songs, Wanted
from headroom.jobs.values import Asked, Made
from headroom.jobs.worker import Worker


class Shelf:
    """A library, and songs that come into it."""

    def __init__(self, database: Database, files: Files, clock: Clock) -> None:
        self.database, self.files = database, files
        self.songs = Songs(database, clock)
        self._queue, self._worker = Queue(database, clock), Worker(database, "shelf", clock)

    def upload(self, data: bytes = b"sound", key: str = "", seconds: float | None = 1.0) -> File:
        with self.files.receive(key, "song.flac") as incoming:
            incoming.write(data)
            return incoming.keep("audio/flac", seconds)

    def make(
        self,
        title: str,
        key: str = "",
        caption: str = "",
        lyrics: str = "",
        parent: str | None = None,
        again: str | None = None,
        data: bytes = b"sound",
        seconds: float | None = 1.0,
    ) -> Song:
        """A song that a job has just made."""
        job = self._queue.submit(Asked("{}", key, again=again))
        claim = self._worker.claim()
        assert claim is not None and claim.job == job.id
        file = self.upload(data, key, seconds)
        made = Made(file.id, title, parent=parent, caption=caption, lyrics=lyrics)
        self._worker.finish(claim, made=[made])
        return self.songs.get(f"{job.id}.1")

    def turned(self, wanted: Wanted, most: int, owner: str | None = None) -> tuple[Song, ...]:
        """All songs that are wanted, page by page."""
        found: list[Song] = []
        cursor: str | None = None
        while True:
            page = self.songs.page(wanted, owner, cursor, most)
            assert len(page.songs) <= most
            found += page.songs
            cursor = page.next
            if cursor is None:
                return tuple(found)
