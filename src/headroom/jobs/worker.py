"""The side of an engine process: jobs are claimed, kept alive by heartbeats, told about, ended.

Every change is one statement whose condition names the state, the attempt and the holder. So two
can never both succeed, and a worker that was taken for dead cannot end what another now does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, insert, null, or_, select, update

from headroom.errors import ClaimLost, UnknownId
from headroom.jobs import texts
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.order import Liked, next_number, serve
from headroom.jobs.roster import Roster
from headroom.jobs.rows import held, settle
from headroom.jobs.shelf import record
from headroom.jobs.tables import answers, events, files, inputs, jobs
from headroom.jobs.tallies import Count, add, waited
from headroom.jobs.values import Claim, Made, Order, State, Told


class Worker:
    """One that works on jobs. `holder` is its name, which nobody else has, ever."""

    def __init__(self, database: Database, holder: str, clock: Clock = SYSTEM) -> None:
        self._database, self.holder, self._clock = database, holder, clock
        self.roster = Roster(database, clock)

    def claim(self, liked: Liked | None = None) -> Claim | None:
        """The next job, which is this worker's from now on; None if none waits.

        `liked` tells by its request whether this worker has what a job needs at hand. It prefers
        those, as far as `jobs.order` lets one job overtake another.
        """
        if not self._any_waits():
            return None
        with self._database.write() as connection:
            self._database.alone(connection, "claims")
            expire_waiting(connection, self._clock.wall())
            change = (
                update(jobs)
                .where(jobs.c.number == next_number(connection, liked), jobs.c.state == "queued")
                .values(
                    state="running",
                    holder=self.holder,
                    attempt=jobs.c.attempt + 1,
                    started=self._clock.wall(),
                )
                .returning(
                    jobs.c.id,
                    jobs.c.attempt,
                    jobs.c.holder,
                    jobs.c.request,
                    jobs.c.key,
                    jobs.c.deadline,
                    jobs.c.started - jobs.c.created,
                )
            )
            row = connection.execute(change).first()
            if row is None:
                return None
            claim = Claim(*row[:-1])
            if claim.attempt == 1:
                serve(connection, claim.key)
                add(connection, waited(row[-1]))
            return claim

    def _any_waits(self) -> bool:
        """Whether it is worth while to wait for the other workers: the idle ones of a large
        cluster ask again and again."""
        with self._database.read() as connection:
            waiting = select(jobs.c.number).where(jobs.c.state == "queued").limit(1)
            return connection.scalar(waiting) is not None

    def beat(self, claim: Claim) -> Order:
        """Show that this worker lives, and learn whether to go on."""
        change = (
            update(jobs)
            .where(held(claim))
            .values(beat=jobs.c.beat + 1)
            .returning(jobs.c.stop, jobs.c.deadline)
        )
        with self._database.write() as connection:
            return self._order(connection.execute(change).first())

    def look(self, claim: Claim) -> Order:
        """Learn whether to go on, without showing anything: much cheaper than a heartbeat."""
        there = select(jobs.c.stop, jobs.c.deadline).where(held(claim))
        with self._database.read() as connection:
            return self._order(connection.execute(there).first())

    def _order(self, row: Sequence[Any] | None) -> Order:
        if row is None:
            return "lost"
        stop, deadline = row
        if stop:
            return "cancel"
        late = deadline is not None and deadline <= self._clock.wall()
        return "expire" if late else "go"

    def tell(self, claim: Claim, told: Sequence[Told]) -> int:
        """Append events; the number of the last one. Raises ClaimLost, InvalidRequest."""
        texted = [(texts.stored_json("event", one.event), one.passing) for one in told]
        change = (
            update(jobs)
            .where(held(claim))
            .values(told=jobs.c.told + len(told))
            .returning(jobs.c.told)
        )
        with self._database.write() as connection:
            last = connection.scalar(change)
            if last is None:
                raise ClaimLost(claim.job, claim.attempt)
            if told:
                now, first = self._clock.wall(), last - len(told) + 1
                rows = [
                    {
                        "job": claim.job,
                        "number": number,
                        "attempt": claim.attempt,
                        "time": now,
                        "passing": passing,
                        "event": event,
                    }
                    for number, (event, passing) in enumerate(texted, first)
                ]
                connection.execute(insert(events), rows)
                add(connection, [count for one in told for count in one.counts])
            return int(last)

    def finish(
        self,
        claim: Claim,
        result: str = "{}",
        made: Sequence[Made] = (),
        counts: Sequence[Count] = (),
        same: str | None = None,
    ) -> None:
        """The job is done: its result (JSON text), its outputs, whose files are kept already, what
        it adds to the counters, and a word that is equal for jobs that make the same songs.

        Raises ClaimLost, InvalidRequest, UnknownId for a file; then nothing is recorded.
        """
        tags = [texts.stored_json("tags", one.tags) for one in made]
        with self._database.write() as connection:
            read = select(inputs.c.job, inputs.c.file).where(inputs.c.job == claim.job)
            if not made:  # what it tells is of these files, whose rows go when it ends
                connection.execute(insert(answers).from_select(["job", "file"], read))
            told = texts.stored_json("result", result)
            self._end(connection, claim, "done", result=told, same=same)
            if made:
                _bind(connection, {one.file for one in made})
                record(connection, claim.job, made, tags)
            add(connection, counts)

    def fail(self, claim: Claim, error: str) -> None:
        """The job has failed, with an error as JSON text. Raises ClaimLost."""
        with self._database.write() as connection:
            self._end(connection, claim, "failed", error=texts.stored_json("error", error))

    def stopped(self, claim: Claim) -> None:
        """The work was stopped, as a heartbeat demanded. Raises ClaimLost."""
        with self._database.write() as connection:
            self._end(connection, claim, case((jobs.c.stop, "cancelled"), else_="expired"))

    def give_back(self, claim: Claim) -> None:
        """Let another worker do the job, because this one is to end. Raises ClaimLost."""
        now = self._clock.wall()
        late = or_(jobs.c.stop, jobs.c.deadline <= now)
        state = case(
            (jobs.c.stop, "cancelled"), (jobs.c.deadline <= now, "expired"), else_="queued"
        )
        change = (
            update(jobs)
            .where(held(claim))
            .values(state=state, holder=None, ended=case((late, now), else_=null()))
        )
        with self._database.write() as connection:
            if not connection.execute(change).rowcount:
                raise ClaimLost(claim.job, claim.attempt)
            settle(connection, [claim.job])

    def _end(
        self,
        connection: Connection,
        claim: Claim,
        state: State | ColumnElement[str],
        **told: str | None,
    ) -> None:
        values: dict[str, Any] = {"error": None, "result": None, "same": None, **told}
        values |= {"state": state, "ended": self._clock.wall(), "holder": None}
        change = update(jobs).where(held(claim)).values(values)
        if not connection.execute(change).rowcount:
            raise ClaimLost(claim.job, claim.attempt)
        settle(connection, [claim.job])


def expire_waiting(connection: Connection, now: float) -> int:
    """End the waiting jobs whose deadline has passed; how many."""
    late = and_(jobs.c.state == "queued", jobs.c.deadline <= now)
    change = update(jobs).where(late).values(state="expired", ended=now).returning(jobs.c.id)
    ids = list(connection.scalars(change))
    if ids:
        settle(connection, ids)
    return len(ids)


def _bind(connection: Connection, ids: set[str]) -> None:
    """From now on these files are removed with their job, and not before."""
    change = update(files).where(files.c.id.in_(ids)).values(expires=None).returning(files.c.id)
    for missing in sorted(ids - set(connection.scalars(change))):
        raise UnknownId("file", missing)
