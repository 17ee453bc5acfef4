"""Songs as rows: entered when a job is done, indexed anew when they change, removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select, update

from headroom.jobs import texts
from headroom.jobs.files import remove_rows
from headroom.jobs.library import remove_jobs, unused
from headroom.jobs.search import indexed
from headroom.jobs.tables import files, jobs, outputs, songs
from headroom.jobs.tables import tags as tag_rows
from headroom.jobs.values import Made


def record(connection: Connection, job: str, made: Sequence[Made], tags: Sequence[str]) -> None:
    """Enter the outputs of a job, each with its JSON text of `tags`, as songs of the library.

    Those of a job that repeats another are versions of what that one made.
    """
    again = select(jobs.c.again).where(jobs.c.id == job).scalar_subquery()
    repeated = select(outputs.c.number, outputs.c.file).where(outputs.c.job == again)
    before = {row.number: row.file for row in connection.execute(repeated)}
    for number, (one, text) in enumerate(zip(made, tags, strict=True), 1):
        title = texts.line(one.title)
        row = {"job": job, "number": number, "file": one.file, "title": title, "tags": text}
        parent = before.get(number, one.parent)
        connection.execute(insert(outputs).values(**row, parent=parent))
        words = {"caption": texts.block(one.caption), "lyrics": texts.block(one.lyrics)}
        index = indexed(title, words["caption"], words["lyrics"], (), connection.dialect)
        connection.execute(insert(songs).values(job=job, output=number, **words, **index))


def index_anew(connection: Connection, number: int) -> None:
    """Bring the derived columns of a song up to date."""
    columns = (outputs.c.title, songs.c.caption, songs.c.lyrics)
    joined = songs.join(outputs, output_of())
    query = select(*columns).select_from(joined).where(songs.c.number == number)
    title, caption, lyrics = connection.execute(query).one()
    tags = tags_of(connection, [number]).get(number, ())
    index = indexed(title, caption, lyrics, tags, connection.dialect)
    connection.execute(update(songs).where(songs.c.number == number).values(**index))


def tags_of(connection: Connection, numbers: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """The tags of songs, in order, by their numbers."""
    query = select(tag_rows.c.song, tag_rows.c.tag).where(tag_rows.c.song.in_(list(numbers)))
    found: dict[int, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.song, []).append(row.tag)
    return {number: tuple(sorted(tags)) for number, tags in found.items()}


def remove_songs(connection: Connection, numbers: Sequence[int]) -> list[str]:
    """Remove songs with their outputs, and the jobs that have none left; the bytes that no row
    names any more. The caller is `alone` with files."""
    columns = (outputs.c.job, outputs.c.number, outputs.c.file)
    joined = outputs.join(songs, output_of())
    rows = connection.execute(
        select(*columns).select_from(joined).where(songs.c.number.in_(numbers))
    ).all()
    for row in rows:  # the song follows its output
        which = (outputs.c.job == row.job) & (outputs.c.number == row.number)
        connection.execute(delete(outputs).where(which))
    names = [row.file for row in rows]
    connection.execute(update(files).where(files.c.id.in_(names)).values(expires=0.0))
    blobs = remove_rows(connection, files.c.id.in_(names) & unused())
    empty = select(jobs.c.id).where(
        jobs.c.id.in_([row.job for row in rows]), ~exists().where(outputs.c.job == jobs.c.id)
    )
    _, more = remove_jobs(connection, list(connection.scalars(empty)))
    return [*blobs, *more]


def output_of() -> ColumnElement[bool]:
    """The condition that joins songs to their outputs."""
    return (outputs.c.job == songs.c.job) & (outputs.c.number == songs.c.output)
