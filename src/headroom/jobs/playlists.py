"""Playlists: songs of the library in an order that somebody chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    func,
    insert,
    select,
    true,
    update,
)

from headroom.errors import Conflict, InvalidRequest, UnknownId
from headroom.jobs import texts
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.songs import Song, some_songs, songs_in
from headroom.jobs.tables import entries, playlists, songs

MOST_SONGS = 1000  # in a playlist
MOST_PLAYLISTS = 500  # of a key


@dataclass(frozen=True, slots=True)
class Playlist:
    """A playlist; times in seconds since 1970, `songs`: how many there are in it."""

    id: str
    name: str
    created: float
    changed: float
    songs: int


class Playlists:
    """Playlists of those who made them. `owner` is the key that asks, None for one who may see all;
    a playlist of another key does not exist."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._database, self._clock = database, clock

    def create(
        self, key: str, name: str, ids: Sequence[str] = (), owner: str | None = None
    ) -> Playlist:
        """A new playlist of a key, with songs that `owner` may see. Raises InvalidRequest,
        UnknownId for a song, Conflict for one too many."""
        id, now = texts.new_id(), self._clock.wall()
        row = {"id": id, "key": key, "name": texts.name("name", name)}
        with self._database.write() as connection:
            self._database.alone(connection, "playlists")
            own = select(func.count()).select_from(playlists).where(playlists.c.key == key)
            if (connection.scalar(own) or 0) >= MOST_PLAYLISTS:
                raise Conflict("playlist", name, f"would be one above {MOST_PLAYLISTS}")
            connection.execute(insert(playlists).values(**row, created=now, changed=now))
            _fill(connection, id, ids, owner)
            return _one(connection, id, key)

    def all(self, owner: str | None = None) -> tuple[Playlist, ...]:
        """Every playlist, in the order of their names."""
        with self._database.read() as connection:
            found = [Playlist(*row) for row in connection.execute(_query(owner))]
        return tuple(sorted(found, key=lambda one: (one.name.casefold(), one.id)))

    def get(self, id: str, owner: str | None = None) -> tuple[Playlist, tuple[Song, ...]]:
        """A playlist and its songs, in order. Raises UnknownId."""
        order = select(entries.c.song).order_by(entries.c.position)
        with self._database.read() as connection:
            found = _one(connection, id, owner)
            numbers = list(connection.scalars(order.where(entries.c.playlist == found.id)))
            return found, songs_in(connection, numbers, owner)

    def change(
        self,
        id: str,
        name: str | None = None,
        ids: Sequence[str] | None = None,
        owner: str | None = None,
    ) -> Playlist:
        """Give it another name, other songs, another order. None: leave that as it is. Raises
        UnknownId, InvalidRequest; then nothing was changed."""
        values: dict[str, object] = {"changed": self._clock.wall()}
        if name is not None:
            values["name"] = texts.name("name", name)
        with self._database.write() as connection:
            self._database.alone(connection, "playlists")
            _one(connection, id, owner)
            connection.execute(update(playlists).where(playlists.c.id == id).values(**values))
            if ids is not None:
                connection.execute(delete(entries).where(entries.c.playlist == id))
                _fill(connection, id, ids, owner)
            return _one(connection, id, owner)

    def delete(self, id: str, owner: str | None = None) -> None:
        """Remove a playlist; its songs stay. Raises UnknownId."""
        with self._database.write() as connection:
            _one(connection, id, owner)
            connection.execute(delete(playlists).where(playlists.c.id == id))


def _fill(connection: Connection, id: str, ids: Sequence[str], owner: str | None) -> None:
    chosen = list(dict.fromkeys(ids))
    if len(chosen) > MOST_SONGS:
        raise InvalidRequest("songs", len(chosen), f"at most {MOST_SONGS} of them")
    known = some_songs(connection, chosen, owner)
    rows = [
        {"playlist": id, "song": one.number, "position": position}
        for position, one in enumerate(known)
    ]
    if rows:
        connection.execute(insert(entries), rows)


def _one(connection: Connection, id: str, owner: str | None) -> Playlist:
    known = id.isprintable()  # no id has other characters, and not every database takes them
    row = connection.execute(_query(owner).where(playlists.c.id == id)).first() if known else None
    if row is None:
        raise UnknownId("playlist", id)
    return Playlist(*row)


def _query(owner: str | None) -> Select[Any]:
    joined = entries.join(songs, songs.c.number == entries.c.song)
    count = (
        select(func.count())
        .select_from(joined)
        .where(entries.c.playlist == playlists.c.id, songs.c.deleted.is_(None))
        .scalar_subquery()
    )
    columns = (playlists.c.id, playlists.c.name, playlists.c.created, playlists.c.changed)
    return select(*columns, count).where(_own(owner))


def _own(owner: str | None) -> ColumnElement[bool]:
    return true() if owner is None else playlists.c.key == owner
