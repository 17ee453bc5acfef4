"""Who is next: the highest priority, then keys in turn, then the order of acceptance.

Keys take turns: of the keys that wait, the one that was served longest ago is next, so somebody
with one song waits for one song of each other key, however many those have. A job that was claimed
before is next within its priority: its key has had its turn already.

A worker that has the model of another job at hand may take that one first, within its priority, if
it was accepted at most OVERTAKING_SECONDS after the one that is next. So a model is loaded less
often, and a job is only ever overtaken by those that came in the minute after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, insert, select, update

from headroom.jobs.tables import jobs, turns

_SERVED = func.coalesce(
    select(turns.c.served).where(turns.c.key == jobs.c.key).scalar_subquery(), 0
)
_FRESH = case((jobs.c.attempt > 0, 0), else_=1)
NEXT: tuple[ColumnElement[Any], ...] = (jobs.c.priority.desc(), _FRESH, _SERVED, jobs.c.number)
"""The order in which waiting jobs are claimed, as long as only the first is taken."""


OVERTAKING_SECONDS = 60.0
_LOOKED_AT = 16  # jobs that may be taken before the one that is next
Liked = Callable[[str], bool]
"""Whether a worker has what a request needs at hand."""


def next_number(connection: Connection, liked: Liked | None = None) -> int | None:
    """The number of the job that a worker is to claim; None if none waits. To be called by one
    transaction at a time."""
    columns = (jobs.c.number, jobs.c.request, jobs.c.priority, jobs.c.created, _FRESH)
    waiting = select(*columns).where(jobs.c.state == "queued").with_for_update(skip_locked=True)
    first = connection.execute(waiting.order_by(*NEXT).limit(1)).first()
    if first is None:
        return None
    if liked is not None and not liked(first.request):
        same = and_(jobs.c.priority == first.priority, _FRESH == first[4])
        soon = jobs.c.created.between(first.created, first.created + OVERTAKING_SECONDS)
        others = waiting.where(same, soon).order_by(jobs.c.number).limit(_LOOKED_AT)
        for row in connection.execute(others):
            if liked(row.request):
                return int(row.number)
    return int(first.number)


def serve(connection: Connection, key: str) -> None:
    """Note that it was this key's turn. To be called by one transaction at a time."""
    newest = select(func.coalesce(func.max(turns.c.served), 0) + 1).scalar_subquery()
    change = update(turns).where(turns.c.key == key).values(served=newest)
    if not connection.execute(change).rowcount:
        connection.execute(insert(turns).values(key=key, served=newest))


def position(connection: Connection, id: str) -> int:
    """How many waiting jobs are claimed before this one if nothing else is asked."""
    columns = (jobs.c.priority, _FRESH, _SERVED, jobs.c.number, jobs.c.key, jobs.c.id)
    waiting = connection.execute(select(*columns).where(jobs.c.state == "queued")).all()
    served = {row.key: int(row[2]) for row in waiting}
    newest = connection.scalar(select(func.max(turns.c.served))) or 0
    ids: list[str] = []
    for priority in sorted({row.priority for row in waiting}, reverse=True):
        same = [row for row in waiting if row.priority == priority]
        ids += [
            row.id for row in sorted(same, key=lambda r: (served[r.key], r.number)) if not row[1]
        ]
        own: dict[str, deque[tuple[int, str]]] = {}
        for row in sorted((row for row in same if row[1]), key=lambda row: int(row.number)):
            own.setdefault(row.key, deque()).append((row.number, row.id))
        keys = [(served[key], theirs[0][0], key) for key, theirs in own.items()]
        heapify(keys)
        while keys:
            key = heappop(keys)[2]
            newest += 1
            served[key] = newest
            ids.append(own[key].popleft()[1])
            if own[key]:
                heappush(keys, (newest, own[key][0][0], key))
    return ids.index(id) if id in ids else 0
