"""Answers requests with songs that were made for the same request before."""

from __future__ import annotations

import json

from sqlalchemy import Connection, and_, exists, insert, select

from headroom.jobs import texts
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.queue import check, new_row, repeated
from headroom.jobs.rows import JOB, job_of, mine, settle
from headroom.jobs.shelf import output_of
from headroom.jobs.tables import jobs, outputs, songs
from headroom.jobs.values import Asked, Job


class Stored:
    """The songs of a database, for requests that would make the same ones."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._database, self._clock = database, clock

    def answered(self, asked: Asked, same: str, owner: str | None) -> Job | None:
        """A new job that is done already: with the songs of the newest job of `owner` (None: of
        anybody) that has the word `same`. None: there is no such job, and nothing was changed.

        Its result is that job's, with its id as `reused`; its outputs are the same files, which
        stay as long as one of the jobs does. The library shows the songs once. Raises
        InvalidRequest; Conflict for an idempotency key that came with another request.
        """
        request = texts.stored_json("request", asked.request)
        digest = texts.digest("request", asked.request)
        check(asked)
        with self._database.write() as connection:
            self._database.alone(connection, "queue")
            self._database.alone(connection, "files")  # none of them is removed meanwhile
            if (there := repeated(connection, asked, digest)) is not None:
                return there
            before = _newest(connection, same, owner)
            if before is None:
                return None
            now = self._clock.wall()
            result = json.loads(before.result or "{}") | {"reused": before.id}
            values = new_row(asked, request, digest, now)
            values |= {"state": "done", "started": now, "ended": now, "deadline": None}
            values |= {"result": json.dumps(result), "same": same, "reused": before.id}
            row = connection.execute(insert(jobs).values(values).returning(*JOB)).one()
            made = connection.execute(select(outputs).where(outputs.c.job == before.id))
            copies = [{**one._mapping, "job": values["id"], "rating": None} for one in made]
            connection.execute(insert(outputs), copies)
            settle(connection, [values["id"]])
            return job_of(row)


def _newest(connection: Connection, same: str, owner: str | None) -> Job | None:
    """The newest job that has all the songs that it made."""
    gone = exists().where(output_of(), songs.c.job == jobs.c.id, songs.c.deleted.is_not(None))
    whole = exists().where(outputs.c.job == jobs.c.id)
    of_it = and_(jobs.c.same == same, jobs.c.state == "done", mine(owner), whole, ~gone)
    query = select(*JOB).where(of_it).order_by(jobs.c.number.desc())
    for row in connection.execute(query):
        job = job_of(row)
        numbers = select(outputs.c.number).where(outputs.c.job == job.id)
        if len(list(connection.scalars(numbers))) == _songs(job):
            return job
    return None


def _songs(job: Job) -> int:
    """How many songs its result tells of."""
    match json.loads(job.result or "{}"):
        case {"output": {"songs": [*made]}}:
            return len(made)
    return 0
