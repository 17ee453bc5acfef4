"""Counters in the database. They only grow, and outlive jobs, processes and restarts.

They are added to in the transaction that changes a job, so that each change is counted once.
Reading them takes a few dozen rows, however many jobs there were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from headroom.jobs.database import Database
from headroom.jobs.tables import tallies

WAITS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, inf)  # upper bounds, in seconds


class Tally(StrEnum):
    """The counters, with what their labels are. Labels are few: no ids, no text of users."""

    ENDED = "ended"  # jobs, by state
    WAITED = "waited"  # jobs, by the smallest of `WAITS` that their wait does not exceed
    WAIT_SECONDS = "wait_seconds"  # from acceptance to the first claim; no label
    LOST = "lost"  # attempts that ended with the death of their worker; no label
    STAGES = "stages"  # stages that have ended, by stage
    STAGE_SECONDS = "stage_seconds"  # by stage, `LOADING_SECONDS` of them for parts
    LOADING_SECONDS = "loading_seconds"
    LOADED_BYTES = "loaded_bytes"  # by part
    RECOVERED = "recovered"  # stages that ran out of memory and were run again, by stage
    CLAMPED = "clamped"  # values of jobs that are done, by field


@dataclass(frozen=True, slots=True)
class Count:
    """What is added to a counter."""

    tally: Tally
    label: str = ""
    amount: float = 1.0


Totals = dict[Tally, dict[str, float]]
"""The counters by their labels; without those that are 0."""


def add(connection: Connection, counts: Iterable[Count]) -> None:
    """Add to counters, always in the same order: two transactions never wait for each other."""
    sums: Counter[tuple[str, str]] = Counter()
    for one in counts:
        sums[one.tally.value, one.label] += one.amount  # type: ignore[assignment]
    if not sums:
        return
    is_sqlite = connection.dialect.name == "sqlite"
    change = sqlite.insert(tallies) if is_sqlite else postgresql.insert(tallies)
    grown = {"value": tallies.c.value + change.excluded.value}
    change = change.on_conflict_do_update(index_elements=["name", "label"], set_=grown)
    rows = [{"name": n, "label": label, "value": sums[n, label]} for n, label in sorted(sums)]
    connection.execute(change, rows)


def waited(seconds: float) -> tuple[Count, Count]:
    """A job was claimed for the first time so long after it was accepted. The clocks of two
    machines may differ: it is at least 0."""
    seconds = max(0.0, seconds)
    bound = next(bound for bound in WAITS if seconds <= bound)
    return Count(Tally.WAITED, str(bound)), Count(Tally.WAIT_SECONDS, amount=seconds)


def totals(database: Database) -> Totals:
    """The counters as they are now. Raises DatabaseFailed."""
    found: Totals = {tally: {} for tally in Tally}
    with database.read() as connection:
        for name, label, value in connection.execute(select(tallies)):
            if name in found:
                found[Tally(name)][label] = value
    return found
