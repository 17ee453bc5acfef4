"""The processes that work: what each tells of itself, and errands for them beside the jobs.

A process tells again and again; a `Watch` strikes one off whose row stands still. An errand is for
one process, which runs it once and writes down its outcome; it ends with its process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import Connection, and_, delete, insert, select, update

from headroom.errors import Conflict, UnknownId
from headroom.jobs import texts
from headroom.jobs.clock import SYSTEM, Clock
from headroom.jobs.database import Database
from headroom.jobs.tables import choices, errands, members

KEEP_SECONDS = 3600.0  # for which the outcome of an errand can be read


@dataclass(frozen=True, slots=True)
class Member:
    """A process: `status` is JSON text, `told` when it told it, in seconds since 1970."""

    name: str
    told: float
    status: str


@dataclass(frozen=True, slots=True)
class Errand:
    """What a process is asked to do: a verb, and JSON text for it. When it has `ended` it has an
    `answer` or an `error`, as JSON text."""

    id: str
    member: str
    verb: str
    given: str
    created: float
    ended: float | None
    answer: str | None
    error: str | None


_MEMBER = tuple(members.c[field.name] for field in fields(Member))
_ERRAND = tuple(errands.c[field.name] for field in fields(Errand))


class Roster:
    """The processes that work on the jobs of a database."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._database, self._clock = database, clock

    def tell(self, name: str, status: str) -> None:
        """A process tells its status, and that it lives. Raises InvalidRequest."""
        now, text = self._clock.wall(), texts.stored_json("status", status)
        values = {"told": now, "status": text}
        change = update(members).where(members.c.name == name)
        with self._database.write() as connection:
            change = change.values(beat=members.c.beat + 1, **values)
            if not connection.execute(change).rowcount:
                connection.execute(insert(members).values(name=name, beat=0, **values))
            old = and_(errands.c.ended.is_not(None), errands.c.ended < now - KEEP_SECONDS)
            connection.execute(delete(errands).where(old))

    def leave(self, name: str) -> None:
        """A process has ended."""
        with self._database.write() as connection:
            strike_off(connection, name)

    def choose(self, family: str, model: str | None) -> None:
        """This is the model of requests of a family that name none, whichever process makes them,
        until another is chosen or the service begins anew; None: none is chosen."""
        with self._database.write() as connection:
            connection.execute(delete(choices).where(choices.c.family == family))
            if model is not None:
                connection.execute(insert(choices).values(family=family, model=model))

    def chosen(self, family: str) -> str | None:
        """The model that was chosen for a family, if one was."""
        with self._database.read() as connection:
            return connection.scalar(select(choices.c.model).where(choices.c.family == family))

    def begin(self) -> None:
        """A service begins: what was chosen before holds no more, unless a process works still."""
        with self._database.write() as connection:
            if connection.scalar(select(members.c.name).limit(1)) is None:
                connection.execute(delete(choices))

    def members(self) -> tuple[Member, ...]:
        """Every process that works, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(*_MEMBER).order_by(members.c.name)).all()
        return tuple(Member(*row) for row in rows)

    def ask(self, verb: str, given: str, member: str | None = None) -> tuple[Errand, ...]:
        """An errand for a process, or for each of them. Raises UnknownId, and Conflict where none
        works."""
        text, now = texts.stored_json("given", given), self._clock.wall()
        with self._database.write() as connection:
            names = list(connection.scalars(select(members.c.name).order_by(members.c.name)))
            if member is not None and member not in names:
                raise UnknownId("engine", member)
            if not names:
                raise Conflict("engine", "(any)", "is not at work: no engine process runs")
            made = [
                Errand(texts.new_id(), name, verb, text, now, None, None, None)
                for name in names
                if member in (None, name)
            ]
            rows = [{c.name: getattr(one, c.name) for c in _ERRAND} for one in made]
            connection.execute(insert(errands), rows)
        return tuple(made)

    def waiting(self, name: str) -> tuple[Errand, ...]:
        """The errands of a process that have not ended, in order."""
        mine = and_(errands.c.member == name, errands.c.ended.is_(None))
        with self._database.read() as connection:
            query = select(*_ERRAND).where(mine).order_by(errands.c.number)
            return tuple(Errand(*row) for row in connection.execute(query))

    def end(self, id: str, answer: str | None = None, error: str | None = None) -> None:
        """An errand is done, or has failed. Raises InvalidRequest."""
        values = {
            "ended": self._clock.wall(),
            "answer": None if answer is None else texts.stored_json("answer", answer),
            "error": None if error is None else texts.stored_json("error", error),
        }
        with self._database.write() as connection:
            open_one = and_(errands.c.id == id, errands.c.ended.is_(None))
            connection.execute(update(errands).where(open_one).values(**values))

    def errands(self, ids: Sequence[str]) -> tuple[Errand, ...]:
        """These errands, in order, without those whose process has ended."""
        with self._database.read() as connection:
            query = select(*_ERRAND).where(errands.c.id.in_(ids)).order_by(errands.c.number)
            return tuple(Errand(*row) for row in connection.execute(query))


def strike_off(connection: Connection, name: str) -> None:
    """Remove a process, and the errands that it will not run."""
    connection.execute(delete(members).where(members.c.name == name))
    left = and_(errands.c.member == name, errands.c.ended.is_(None))
    connection.execute(delete(errands).where(left))
