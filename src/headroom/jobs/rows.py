"""Statements and conversions that several modules share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, select, true

from headroom.errors import UnknownId
from headroom.jobs.tables import ENDED, events, inputs, jobs
from headroom.jobs.tallies import Count, Tally, add
from headroom.jobs.values import Claim, Job

JOB = tuple(jobs.c[field.name] for field in fields(Job))  # in the order of Job's fields


def job_of(row: Sequence[Any]) -> Job:
    """A row of the columns JOB."""
    return Job(*row)


def mine(owner: str | None) -> ColumnElement[bool]:
    """Jobs that this key asked for; all of them for None. `one_job` says the same."""
    return true() if owner is None else jobs.c.key == owner


# Made once: making a statement takes longer than this one takes to be carried out.
_ANY = select(*JOB).where(jobs.c.id == bindparam("id"))
_OWN = _ANY.where(jobs.c.key == bindparam("owner"))


def one_job(connection: Connection, id: str, owner: str | None) -> Job:
    """Raises UnknownId, also for a job of another key."""
    values = {"id": id} if owner is None else {"id": id, "owner": owner}
    row = connection.execute(_ANY if owner is None else _OWN, values).first()
    if row is None:
        raise UnknownId("job", id)
    return job_of(row)


def held(claim: Claim) -> ColumnElement[bool]:
    """The job of a claim that is in force."""
    return and_(
        jobs.c.id == claim.job,
        jobs.c.state == "running",
        jobs.c.attempt == claim.attempt,
        jobs.c.holder == claim.holder,
    )


def settle(connection: Connection, ids: list[str]) -> None:
    """Count those of these jobs that have just ended, and remove what they no longer need."""
    over = and_(jobs.c.id.in_(ids), jobs.c.state.in_(ENDED))
    ended = select(jobs.c.id).where(over)
    connection.execute(delete(events).where(events.c.job.in_(ended), events.c.passing))
    connection.execute(delete(inputs).where(inputs.c.job.in_(ended)))
    states = select(jobs.c.state, func.count()).where(over).group_by(jobs.c.state)
    add(connection, [Count(Tally.ENDED, *row) for row in connection.execute(states).all()])
