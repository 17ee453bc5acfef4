"""The library: every song that was made here, searched, sorted, rated, tagged, deleted with undo.

A song is an output of a job. It is known by a number in the database and by an id outside of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from headroom.errors import InvalidRequest, UnknownId
from headroom.jobs import texts
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.pages import Place, behind, place_of, written
from headroom.jobs.rows import mine
from headroom.jobs.search import matching
from headroom.jobs.shelf import index_anew, output_of, tags_of
from headroom.jobs.tables import files, jobs, outputs, songs
from headroom.jobs.tables import tags as tag_rows

RATINGS = range(1, 6)
MOST_TAGS = 20  # on a song
TAG_LENGTH = 50
UNDO_SECONDS = 7 * 24 * 3600.0  # from the deletion of a song until it is removed
MOST_VERSIONS = 500  # that are shown of one song
Sort = Literal["date", "name", "rating", "length"]
SORTS: tuple[Sort, ...] = get_args(Sort)
_ID = re.compile(r"([A-Za-z0-9_-]{1,40})\.([1-9]\d{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Song:
    """A song of the library; times in seconds since 1970.

    job, output  the job that made it, and which of its outputs it is, from 1
    parent       id of the song it was made from; None: from none that is still here
    deleted      when it was deleted; `removed`: when it is gone for good
    """

    id: str
    number: int
    job: str
    output: int
    file: str
    title: str
    caption: str
    lyrics: str
    tags: tuple[str, ...]
    rating: int | None
    kind: str
    seconds: float | None
    size: int
    created: float
    parent: str | None
    deleted: float | None

    @property
    def removed(self) -> float | None:
        return None if self.deleted is None else self.deleted + UNDO_SECONDS


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which songs, and in which order. Every tag has to be on the song; `rating`: at least."""

    query: str = ""
    tags: tuple[str, ...] = ()
    rating: int | None = None
    deleted: bool = False
    sort: Sort = "date"
    rising: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed of a song; None: nothing. A `rating` of 0 takes it away."""

    title: str | None = None
    rating: int | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SongPage:
    """Some songs; `next` is the cursor of the page behind it, None for the last page."""

    songs: tuple[Song, ...]
    next: str | None


_COLUMNS = (
    songs.c.number, songs.c.job, songs.c.output, outputs.c.file, outputs.c.title, songs.c.caption,
    songs.c.lyrics, outputs.c.rating, files.c.kind, files.c.seconds, files.c.size, files.c.created,
    outputs.c.parent, songs.c.deleted,
)  # fmt: skip
_JOINED = (
    songs.join(outputs, output_of())
    .join(files, files.c.id == outputs.c.file)
    .join(jobs, jobs.c.id == songs.c.job)
)


class Songs:
    """Songs for those who asked for them. `owner` is the key that asks, None for one who may see
    all; a song of another key does not exist."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._database, self._clock = database, clock

    def page(
        self,
        wanted: Wanted,
        owner: str | None = None,
        cursor: str | None = None,
        most: int = 50,
    ) -> SongPage:
        """The songs that are wanted, from a cursor on. Raises InvalidRequest."""
        dialect = self._database.engine.dialect
        key = _key(wanted.sort, self._database.is_sqlite)
        query = _select(owner).where(*_conditions(wanted))
        if (found := matching(wanted.query, dialect)) is not None:
            query = query.where(found)
        if cursor is not None:
            place = place_of(cursor, wanted.sort)
            query = query.where(behind(place, key, songs.c.number, wanted.rising))
        order = [key, songs.c.number] if wanted.rising else [key.desc(), songs.c.number.desc()]
        query = query.add_columns(key.label("key")).order_by(*order).limit(most + 1)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            page = _songs(connection, rows[:most], owner)
        if len(rows) <= most:
            return SongPage(page, None)
        return SongPage(page, written(Place(wanted.sort, rows[most - 1].key, page[-1].number)))

    def get(self, id: str, owner: str | None = None) -> Song:
        """A song, also one that is deleted but not yet removed. Raises UnknownId."""
        with self._database.read() as connection:
            return one_song(connection, id, owner)

    def some(self, ids: Sequence[str], owner: str | None = None) -> tuple[Song, ...]:
        """Songs in the order of their ids, each once. Raises UnknownId."""
        with self._database.read() as connection:
            return some_songs(connection, list(dict.fromkeys(ids)), owner)

    def change(self, id: str, change: Change, owner: str | None = None) -> Song:
        """Raises UnknownId, InvalidRequest; then nothing was changed."""
        if change.rating is not None and change.rating not in (0, *RATINGS):
            allowed = f"{RATINGS[0]} to {RATINGS[-1]}, or nothing"
            raise InvalidRequest("rating", change.rating, allowed)
        tags = None if change.tags is None else checked_tags(change.tags)
        values: dict[str, object] = {}
        if change.title is not None:
            values["title"] = texts.line(change.title)
        if change.rating is not None:
            values["rating"] = change.rating or None
        with self._database.write() as connection:
            song = one_song(connection, id, owner)
            if values:
                which = and_(outputs.c.job == song.job, outputs.c.number == song.output)
                connection.execute(update(outputs).where(which).values(**values))
            if tags is not None:
                connection.execute(delete(tag_rows).where(tag_rows.c.song == song.number))
                if tags:
                    rows = [{"song": song.number, "tag": tag} for tag in tags]
                    connection.execute(insert(tag_rows), rows)
            if "title" in values or tags is not None:
                index_anew(connection, song.number)
            return one_song(connection, id, owner)

    def delete(self, id: str, owner: str | None = None) -> Song:
        """Delete a song: lists leave it out, and some time later `Retention` removes it. Raises
        UnknownId."""
        return self._mark(id, owner, self._clock.wall())

    def restore(self, id: str, owner: str | None = None) -> Song:
        """Undo a deletion. Raises UnknownId, also once the song was removed."""
        return self._mark(id, owner, None)

    def versions(self, id: str, owner: str | None = None) -> tuple[tuple[Song, int], ...]:
        """A song, what it was made from, and all that was made from those: each song before those
        made from it, with its depth below the first; at most MOST_VERSIONS. Raises UnknownId."""
        with self._database.read() as connection:
            first = _first(connection, one_song(connection, id, owner), owner)
            below = _below(connection, first, owner)
            numbers = list(dict.fromkeys(row.number for rows in below.values() for row in rows))
            chosen = _select(owner).where(songs.c.number.in_(numbers))
            known = {
                one.number: one
                for one in _songs(connection, connection.execute(chosen).all(), owner)
            }
        return tuple((known[number], depth) for number, depth in _walk(first, below))

    def tags(self, owner: str | None = None) -> tuple[tuple[str, int], ...]:
        """Every tag, and how many songs have it."""
        joined = tag_rows.join(songs, songs.c.number == tag_rows.c.song)
        joined = joined.join(jobs, jobs.c.id == songs.c.job)
        query = (
            select(tag_rows.c.tag, func.count())
            .select_from(joined)
            .where(mine(owner), songs.c.deleted.is_(None))
            .group_by(tag_rows.c.tag)
        )
        with self._database.read() as connection:
            return tuple(sorted((row[0], row[1]) for row in connection.execute(query)))

    def _mark(self, id: str, owner: str | None, deleted: float | None) -> Song:
        with self._database.write() as connection:
            song = one_song(connection, id, owner)
            change = update(songs).where(songs.c.number == song.number)
            if (song.deleted is None) != (deleted is None):
                connection.execute(change.values(deleted=deleted))
            return one_song(connection, id, owner)


def one_song(connection: Connection, id: str, owner: str | None) -> Song:
    """Raises UnknownId, also for a song of another key."""
    return some_songs(connection, [id], owner)[0]


def some_songs(connection: Connection, ids: Sequence[str], owner: str | None) -> tuple[Song, ...]:
    """Songs in the order of their ids. Raises UnknownId for the first that is not there."""
    parts = {id: _ID.fullmatch(id) for id in ids}
    wanted = {found[1] for found in parts.values() if found}
    rows = connection.execute(_select(owner).where(songs.c.job.in_(wanted))).all()
    known = {id_of(row.job, row.output): row for row in rows}
    for id in ids:
        if id not in known:
            raise UnknownId("song", id)
    return _songs(connection, [known[id] for id in ids], owner)


def songs_in(connection: Connection, numbers: Sequence[int], owner: str | None) -> tuple[Song, ...]:
    """Songs in the order of their numbers here, without those that are deleted or not there."""
    query = _select(owner).where(songs.c.number.in_(numbers), songs.c.deleted.is_(None))
    known = {row.number: row for row in connection.execute(query)}
    return _songs(connection, [known[one] for one in numbers if one in known], owner)


def id_of(job: str, output: int) -> str:
    """The id of the song that is this output of a job."""
    return f"{job}.{output}"


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags without spaces around them and each once. Raises InvalidRequest."""
    found = sorted({tag.strip() for tag in tags})
    for tag in found:
        if not 0 < len(tag) <= TAG_LENGTH or not tag.isprintable():
            raise InvalidRequest("tags", tag, f"each 1 to {TAG_LENGTH} printable characters")
    if len(found) > MOST_TAGS:
        raise InvalidRequest("tags", len(found), f"at most {MOST_TAGS} of them")
    return tuple(found)


def _select(owner: str | None) -> Select[Any]:
    return select(*_COLUMNS).select_from(_JOINED).where(mine(owner))


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    deleted = songs.c.deleted
    found: list[ColumnElement[bool]] = []
    found.append(deleted.is_not(None) if wanted.deleted else deleted.is_(None))
    if wanted.rating is not None:
        found.append(outputs.c.rating >= wanted.rating)
    for tag in wanted.tags:
        found.append(exists().where(tag_rows.c.song == songs.c.number, tag_rows.c.tag == tag))
    return found


def _key(sort: Sort, sqlite: bool) -> ColumnElement[Any]:
    name: ColumnElement[Any] = songs.c.sorted  # SQLite compares bytes, PostgreSQL by a locale
    keys: dict[Sort, ColumnElement[Any]] = {
        "date": songs.c.number,
        "name": name if sqlite else name.collate("C"),
        "rating": func.coalesce(outputs.c.rating, 0),
        "length": func.coalesce(files.c.seconds, 0.0),
    }
    return keys[sort]


def _songs(connection: Connection, rows: Sequence[Any], owner: str | None) -> tuple[Song, ...]:
    """Rows of `_COLUMNS` with the tags and the parents of their songs."""
    tags = tags_of(connection, [row.number for row in rows])
    sources = {row.parent for row in rows if row.parent is not None}
    query = select(outputs.c.file, songs.c.job, songs.c.output).select_from(_JOINED)
    query = query.where(mine(owner), outputs.c.file.in_(sources)).order_by(songs.c.number.desc())
    parents = {row.file: id_of(row.job, row.output) for row in connection.execute(query)}
    return tuple(
        Song(
            id=id_of(row.job, row.output),
            **{name: getattr(row, name) for name in _PLAIN},
            tags=tags.get(row.number, ()),
            parent=parents.get(row.parent),
        )
        for row in rows
    )


_PLAIN = tuple(column.name for column in _COLUMNS if column.name != "parent")


def _first(connection: Connection, song: Song, owner: str | None) -> str:
    """The file from which a song was made in the end, through however many others."""
    file, seen = song.file, {song.file}
    query = select(outputs.c.parent).select_from(_JOINED).where(mine(owner))
    while len(seen) < MOST_VERSIONS:
        parent = connection.scalar(query.where(outputs.c.file == file).limit(1))
        if parent is None or parent in seen:
            break
        seen.add(parent)
        file = parent
    return file


def _below(connection: Connection, first: str, owner: str | None) -> dict[str, list[Any]]:
    """The songs made from each file, from `first` on; under "" those whose file is `first`."""
    columns = (songs.c.number, outputs.c.file, outputs.c.parent)
    query = select(*columns).select_from(_JOINED).where(mine(owner)).order_by(songs.c.number)
    below = {"": list(connection.execute(query.where(outputs.c.file == first)))}
    level, count = [first], len(below[""])
    while level and count < MOST_VERSIONS:
        found: dict[str, list[Any]] = {}
        made = query.where(outputs.c.parent.in_(level), outputs.c.file.not_in(list(below)))
        for row in connection.execute(made.limit(MOST_VERSIONS - count)):
            found.setdefault(row.parent, []).append(row)
            count += 1
        below |= found
        level = [row.file for rows in found.values() for row in rows]
    return below


def _walk(first: str, below: dict[str, list[Any]]) -> list[tuple[int, int]]:
    """The numbers of songs, each before those made from it, with their depths."""
    roots = below[""] or below.get(first, [])
    waiting = [(row, 0) for row in reversed(roots)]
    found: dict[int, int] = {}
    while waiting:
        row, depth = waiting.pop()
        if row.number in found:
            continue
        found[row.number] = depth
        waiting += [(made, depth + 1) for made in reversed(below.get(row.file, []))]
    return list(found.items())
