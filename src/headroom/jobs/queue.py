"""The side of the doors: jobs are accepted, shown, cancelled, and their events read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, func, insert, select, update

from headroom.errors import Conflict, InvalidRequest, QueueFull, UnknownId
from headroom.jobs import texts
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.order import position
from headroom.jobs.rows import JOB, job_of, mine, one_job, settle
from headroom.jobs.tables import events, files, inputs, jobs
from headroom.jobs.values import Asked, Event, Job, Load, Page, State, Stats, Story

WAITING = 200  # jobs that may wait
PAGE = 100  # jobs or events that are read at a time
_AT_ONCE = 500  # ids in one statement
_RECENT = 50  # jobs that the mean time is taken of
PRIORITIES = range(-100, 101)
CURSOR = "^[0-9]{1,18}$"  # the form of a page's cursor


class Queue:
    """Jobs for those who ask. `owner` is the key that asks, None for one who may see all jobs.

    `most` jobs may wait, of all keys together; `check_room` raises StorageFull if there is no space
    for what jobs make.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock = SYSTEM,
        most: int = WAITING,
        check_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._clock = database, clock
        self._most, self._check_room = most, check_room

    def submit(self, asked: Asked, most_own: int | None = None) -> Job:
        """Accept a job: it is on disk when this returns.

        `most_own` jobs of this key may wait. Raises InvalidRequest, QueueFull, StorageFull,
        UnknownId for an input, Conflict for a `repeat` that came with another request; then
        nothing was changed.
        """
        request = texts.stored_json("request", asked.request)
        digest = texts.digest("request", asked.request)
        check(asked)
        with self._database.write() as connection:
            self._database.alone(connection, "queue")
            if (before := repeated(connection, asked, digest)) is not None:
                return before
            if asked.inputs:  # none of them is removed before the job is there
                self._database.alone(connection, "files")
            self._check_room()
            self._check_full(connection, asked.key, most_own)
            _check_inputs(connection, asked)
            values = new_row(asked, request, digest, self._clock.wall())
            row = connection.execute(insert(jobs).values(values).returning(*JOB)).one()
            if asked.inputs:
                rows = [{"job": values["id"], "file": file} for file in dict.fromkeys(asked.inputs)]
                connection.execute(insert(inputs), rows)
            return job_of(row)

    def get(self, id: str, owner: str | None = None) -> Job:
        """Raises UnknownId."""
        with self._database.read() as connection:
            return one_job(connection, id, owner)

    def page(
        self,
        owner: str | None = None,
        states: Sequence[State] | None = None,
        cursor: str | None = None,
        most: int = PAGE,
    ) -> Page:
        """Jobs, newest first, in these states, from a cursor on. Raises InvalidRequest."""
        query = select(jobs.c.number, *JOB).where(mine(owner)).order_by(jobs.c.number.desc())
        if states is not None:
            query = query.where(jobs.c.state.in_(states))
        if cursor is not None:
            query = query.where(jobs.c.number < _number(cursor))
        with self._database.read() as connection:
            rows = connection.execute(query.limit(most + 1)).all()
        more = len(rows) > most
        return Page(
            tuple(job_of(row[1:]) for row in rows[:most]), str(rows[most - 1][0]) if more else None
        )

    def cancel(self, id: str, owner: str | None = None) -> Job:
        """End a queued job at once; ask the holder of a running one to stop, which it learns from
        its next heartbeat. A job that has ended stays as it is. Raises UnknownId."""
        queued = jobs.c.state == "queued"
        change = (
            update(jobs)
            .where(jobs.c.id == id, mine(owner), jobs.c.state.in_(("queued", "running")))
            .values(
                state=case((queued, "cancelled"), else_=jobs.c.state),
                stop=~queued,
                ended=case((queued, self._clock.wall()), else_=None),
            )
        )
        with self._database.write() as connection:
            if connection.execute(change).rowcount:
                settle(connection, [id])
            return one_job(connection, id, owner)

    def story(self, id: str, after: int = 0, owner: str | None = None, most: int = PAGE) -> Story:
        """The events of a job that follow number `after`, at most `most`, and the job itself.
        Raises UnknownId."""
        columns = (events.c.number, events.c.attempt, events.c.time, events.c.event)
        query = select(*columns).where(events.c.job == id, events.c.number > after)
        with self._database.read() as connection:
            job = one_job(connection, id, owner)
            rows = connection.execute(query.order_by(events.c.number).limit(most)).all()
        return Story(job, tuple(Event(*row) for row in rows))

    def marks(self, ids: Iterable[str]) -> dict[str, tuple[int, str]]:
        """Of each of these jobs that there is: the number of its newest event, and its state."""
        columns, asked = (jobs.c.id, jobs.c.told, jobs.c.state), list(ids)
        found: dict[str, tuple[int, str]] = {}
        with self._database.read() as connection:
            for start in range(0, len(asked), _AT_ONCE):
                some = select(*columns).where(jobs.c.id.in_(asked[start : start + _AT_ONCE]))
                found |= {row[0]: (row[1], row[2]) for row in connection.execute(some)}
        return found

    def position(self, id: str, owner: str | None = None) -> int:
        """How many jobs are claimed before this one if nothing else is asked and no worker prefers
        another; 0 for the next one and for a job that waits no more. Raises UnknownId."""
        with self._database.read() as connection:
            one_job(connection, id, owner)
            return position(connection, id)

    def stats(self) -> Stats:
        ran = jobs.c.ended - jobs.c.started
        recent = (
            select(ran.label("ran"))
            .where(jobs.c.state == "done", jobs.c.reused.is_(None))
            .order_by(jobs.c.ended.desc())
            .limit(_RECENT)
            .subquery()
        )
        with self._database.read() as connection:
            counts = connection.execute(
                select(jobs.c.state, func.count()).group_by(jobs.c.state)
            ).all()
            seconds = connection.scalar(select(func.avg(recent.c.ran)))
        return Stats({row[0]: row[1] for row in counts}, seconds)

    def load(self) -> Load:
        """How much there is to do; quick, however many jobs have ended."""
        count = select(func.count()).select_from(jobs)
        with self._database.read() as connection:
            waiting, running = (
                connection.scalar(count.where(jobs.c.state == state)) or 0
                for state in ("queued", "running")
            )
        return Load(waiting, running)

    def _check_full(self, connection: Connection, key: str, most_own: int | None) -> None:
        waits = select(func.count()).select_from(jobs).where(jobs.c.state == "queued")
        waiting = connection.scalar(waits) or 0
        if waiting >= self._most:
            raise QueueFull(waiting, self._most, own=False)
        own = connection.scalar(waits.where(jobs.c.key == key)) or 0
        if most_own is not None and own >= most_own:
            raise QueueFull(own, most_own, own=True)


def check(asked: Asked) -> None:
    """Raise InvalidRequest for a value that no job may have."""
    if asked.repeat is not None:
        texts.name("idempotency key", asked.repeat)
    if asked.priority not in PRIORITIES:
        allowed = f"{PRIORITIES[0]} to {PRIORITIES[-1]}"
        raise InvalidRequest("priority", asked.priority, allowed)
    if asked.within is not None and not 0 < asked.within < float("inf"):
        raise InvalidRequest("within", asked.within, "seconds above 0")


def new_row(asked: Asked, request: str, digest: str, now: float) -> dict[str, Any]:
    """The values of a job that waits."""
    return {
        "id": texts.new_id(),
        "key": asked.key,
        "request": request,
        "digest": digest,
        "repeat": asked.repeat,
        "priority": asked.priority,
        "state": "queued",
        "created": now,
        "deadline": None if asked.within is None else now + asked.within,
        **dict.fromkeys(("attempt", "deaths", "beat", "told"), 0),
        "stop": False,
        "again": asked.again,
    }


def repeated(connection: Connection, asked: Asked, digest: str) -> Job | None:
    """The job that was asked for with the same idempotency key. Raises Conflict."""
    if asked.repeat is None:
        return None
    same = and_(jobs.c.key == asked.key, jobs.c.repeat == asked.repeat)
    row = connection.execute(select(jobs.c.digest, *JOB).where(same)).first()
    if row is None:
        return None
    before = job_of(row[1:])
    if row[0] != digest:
        why = "was asked for with this idempotency key and another request"
        raise Conflict("job", before.id, why)
    return before


def _check_inputs(connection: Connection, asked: Asked) -> None:
    """Check that every file exists and belongs to the caller. Raises what a missing one raises."""
    wanted = set(asked.inputs)
    if not wanted:
        return
    of_asker = and_(files.c.id.in_(wanted), files.c.owner == asked.key)
    there = set(connection.scalars(select(files.c.id).where(of_asker)))
    for missing in sorted(wanted - there):
        raise UnknownId("file", missing)


def _number(cursor: str) -> int:
    if not re.fullmatch(CURSOR, cursor):
        raise InvalidRequest("cursor", cursor, "the cursor that a page came with")
    return int(cursor)
