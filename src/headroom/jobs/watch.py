"""Finds workers that have died and puts their jobs back into the queue.

A worker is dead when its process has ended, as its supervisor knows at once (`take_back`), or when
its heartbeat number has stood still for `patience` seconds of this process's own steady clock
(`look`). The clocks of two processes are never compared: they may differ, and be set back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, null, select, update

from headroom.errors import WorkerLost
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.roster import strike_off
from headroom.jobs.rows import settle
from headroom.jobs.tables import ENDED, jobs, members
from headroom.jobs.tallies import Count, Tally, add

PATIENCE = 30.0  # seconds; workers beat every few seconds
RETRIES = 2  # times that a job is taken up again after the death of a worker
# An observer that was itself suspended learns nothing from how long it was away: however much time
# has passed between two looks, it counts as at most this part of the patience.
_MOST_OF_PATIENCE = 1 / 3
_MEMBER = 0  # in place of the number of an attempt, for the row of a process


@dataclass(slots=True)
class _Seen:
    beat: int
    still: float  # seconds for which the number has not changed while this process looked


class Watch:
    """One observer of all workers. Several may watch the same database."""

    def __init__(
        self, database: Database, clock: Clock = SYSTEM, patience: float = PATIENCE
    ) -> None:
        self._database, self._clock, self._patience = database, clock, patience
        self._seen: dict[tuple[str, int], _Seen] = {}  # by job and attempt
        self._looked: float | None = None

    def look(self) -> list[str]:
        """Take back the jobs of workers that are dead by their heartbeats; ids. To be called again
        and again, at least four times within the patience."""
        columns = (jobs.c.id, jobs.c.attempt, jobs.c.beat)
        with self._database.read() as connection:
            rows = connection.execute(select(*columns).where(jobs.c.state == "running")).all()
            known = connection.execute(select(members.c.name, members.c.beat)).all()
        now = self._clock.steady()
        passed = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        passed = min(passed, self._patience * _MOST_OF_PATIENCE)
        before, self._seen = self._seen, {}
        dead, gone = [], []
        for id, attempt, beat in [*rows, *((name, _MEMBER, beat) for name, beat in known)]:
            seen = before.get((id, attempt))
            still = seen.still + passed if seen is not None and seen.beat == beat else 0.0
            self._seen[id, attempt] = _Seen(beat, still)
            if still < self._patience:
                continue
            if attempt == _MEMBER:
                gone.append(id)
            else:
                dead.append(and_(jobs.c.id == id, jobs.c.attempt == attempt, jobs.c.beat == beat))
        for name in gone:
            self._strike_off(name)
        return [id for one in dead for id in self._take(one)]

    def take_back(self, holder: str) -> list[str]:
        """Take back all jobs of a worker whose process has ended; ids."""
        self._strike_off(holder)
        return self._take(jobs.c.holder == holder)

    def _strike_off(self, name: str) -> None:
        with self._database.write() as connection:
            strike_off(connection, name)

    def _take(self, whose: ColumnElement[bool]) -> list[str]:
        with self._database.write() as connection:
            return _taken_back(connection, whose, self._clock.wall())


def _taken_back(connection: Connection, whose: ColumnElement[bool], now: float) -> list[str]:
    """Queue the jobs again or end them, in one statement; ids."""
    from headroom.engine.wire.errors import error_json  # slow to import

    error = json.dumps(error_json(WorkerLost(RETRIES + 1)))
    late, worn = jobs.c.deadline <= now, jobs.c.deaths >= RETRIES
    state = case((jobs.c.stop, "cancelled"), (late, "expired"), (worn, "failed"), else_="queued")
    change = (
        update(jobs)
        .where(jobs.c.state == "running", whose)
        .values(
            state=state,
            holder=None,
            deaths=jobs.c.deaths + 1,
            ended=case((state.in_(ENDED), now), else_=null()),
            error=case((state == "failed", error), else_=null()),
        )
        .returning(jobs.c.id)
    )
    ids = list(connection.scalars(change))
    if ids:
        settle(connection, ids)
        add(connection, [Count(Tally.LOST, amount=len(ids))])
    return ids
