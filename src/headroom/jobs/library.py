"""What jobs made, and its removal with its job."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    not_,
    or_,
    select,
    update,
)

from headroom.errors import Conflict, UnknownId
from headroom.jobs.database import Database
from headroom.jobs.files import Files, remove_rows
from headroom.jobs.order import position
from headroom.jobs.rows import mine, one_job
from headroom.jobs.tables import answers, files, inputs, jobs, outputs
from headroom.jobs.values import Job


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a job and of its file: `number` counts from 1, `tags` is JSON text, `parent` the
    id of the file it was made from, which may be gone."""

    job: str
    number: int
    file: str
    title: str
    tags: str
    rating: int | None
    parent: str | None
    kind: str
    seconds: float | None
    size: int
    created: float


_MOST_TOLD = 20  # results about a file
_OUTPUT = (*outputs.c, files.c.kind, files.c.seconds, files.c.size, files.c.created)
_WITH_FILE = outputs.join(files, files.c.id == outputs.c.file).join(
    jobs, jobs.c.id == outputs.c.job
)


_OF_JOB = (
    select(*_OUTPUT)
    .select_from(_WITH_FILE)
    .where(outputs.c.job == bindparam("id"))
    .order_by(outputs.c.number)
)


class Library:
    """Outputs for those who asked for them. `owner` is the key that asks, None for one who may see
    all."""

    def __init__(self, database: Database, files: Files) -> None:
        self._database, self._files = database, files

    def of_job(self, job: str, owner: str | None = None) -> tuple[Output, ...]:
        """The outputs of a job, in order. Raises UnknownId."""
        with self._database.read() as connection:
            one_job(connection, job, owner)
            return _of_job(connection, job)

    def shown(
        self, id: str, owner: str | None = None
    ) -> tuple[Job, tuple[Output, ...], int | None]:
        """A job as it is now; its outputs, if it has ended; how many are claimed before it, if it
        waits. Raises UnknownId."""
        with self._database.read() as connection:
            job = one_job(connection, id, owner)
            made = _of_job(connection, id) if job.has_ended else ()
            return job, made, position(connection, id) if job.state == "queued" else None

    def get(self, job: str, number: int, owner: str | None = None) -> Output:
        """Raises UnknownId."""
        for output in self.of_job(job, owner):
            if output.number == number:
                return output
        raise UnknownId("output", f"{job}/{number}")

    def told_of(self, file: str, owner: str | None = None) -> tuple[str, ...]:
        """The results of jobs that read a file and made none, as JSON texts, the newest first."""
        query = (
            select(jobs.c.result)
            .select_from(answers.join(jobs, jobs.c.id == answers.c.job))
            .where(answers.c.file == file, mine(owner))
            .order_by(jobs.c.number.desc())
            .limit(_MOST_TOLD)
        )
        with self._database.read() as connection:
            return tuple(connection.scalars(query))

    def delete(self, job: str, owner: str | None = None) -> None:
        """Remove a job with its events and outputs. Raises UnknownId; Conflict for a job that is
        running, which has to be cancelled first."""
        with self._database.write() as connection:
            self._database.alone(connection, "files")
            there = one_job(connection, job, owner)
            removed, blobs = remove_jobs(connection, [job])
            if not removed:
                raise Conflict("job", there.id, "is running: cancel it first")
        self._files.drop(blobs)


def _of_job(connection: Connection, id: str) -> tuple[Output, ...]:
    return tuple(Output(*row) for row in connection.execute(_OF_JOB, {"id": id}))


def remove_jobs(connection: Connection, ids: list[str]) -> tuple[list[str], list[str]]:
    """Delete jobs that are not running; their ids, and the bytes that no row names any more.
    The caller is `alone` with files."""
    idle = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.state != "running")
    removed = list(connection.scalars(idle.with_for_update()))
    theirs = list(
        connection.scalars(select(outputs.c.file).where(outputs.c.job.in_(removed)).distinct())
    )
    connection.execute(delete(jobs).where(jobs.c.id.in_(removed)))  # events and outputs follow
    # What another job reads or has as an output too stays, as a file that has expired.
    connection.execute(update(files).where(files.c.id.in_(theirs)).values(expires=0.0))
    return removed, remove_rows(connection, and_(files.c.id.in_(theirs), unused()))


def unused() -> ColumnElement[bool]:
    """Files that no job reads and none has as an output."""
    used = or_(
        exists().where(inputs.c.file == files.c.id), exists().where(outputs.c.file == files.c.id)
    )
    return not_(used)
