"""What goes into the database and comes out of it, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headroom.jobs.tables import ENDED
from headroom.jobs.tallies import Count

State = Literal["queued", "running", "done", "failed", "cancelled", "expired"]
Order = Literal["go", "cancel", "expire", "lost"]
"""What a heartbeat answers: go on; stop, because of a cancellation or of the deadline; or stop and
write nothing, because the job is no longer this worker's."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for the queue.

    request   JSON text, which nobody here interprets
    key       the id of the key that asks; "" on this machine
    repeat    an idempotency key: asking again with it yields the job there is
    priority  the highest is served first, whoever asks
    within    seconds from now until the job has to have ended; None: no limit
    inputs    ids of the files it reads, which are kept until it has ended
    again     id of the job whose request it repeats: its songs are versions of that job's
    """

    request: str
    key: str = ""
    repeat: str | None = None
    priority: int = 0
    within: float | None = None
    inputs: tuple[str, ...] = ()
    again: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is in the database; times in seconds since 1970.

    attempt  how often it was claimed
    deaths   how many of these attempts ended with the death of the worker
    stop     whether cancellation was asked for while it ran
    told     the number of its newest event
    error    JSON of a failed job, `result`: JSON of one that is done
    reused   the job whose songs it was answered with, if it was; that may be gone
    """

    id: str
    key: str
    request: str
    state: State
    priority: int
    attempt: int
    deaths: int
    stop: bool
    told: int
    created: float
    deadline: float | None
    started: float | None
    ended: float | None
    error: str | None
    result: str | None
    reused: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs, newest first; `next` is the cursor of the page behind it, None for the last page."""

    jobs: tuple[Job, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """An event to be written: JSON text, and what it adds to the counters. A `passing` one is
    deleted when the job ends."""

    event: str
    passing: bool = False
    counts: tuple[Count, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a job. Numbers grow by one with each event that was told, from 1; those of
    passing events are missing once the job has ended."""

    number: int
    attempt: int
    time: float
    event: str


@dataclass(frozen=True, slots=True)
class Story:
    """The events of a job after some number, and the job as it was at the same moment."""

    job: Job
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a job; it is in force until the job ends or is taken back."""

    job: str
    attempt: int
    holder: str
    request: str
    key: str
    deadline: float | None


@dataclass(frozen=True, slots=True)
class Made:
    """An output to be recorded: the id of its file, and what the library shows of it.

    tags    JSON text
    parent  the id of the file it was made from
    """

    file: str
    title: str = ""
    tags: str = "{}"
    parent: str | None = None
    caption: str = ""
    lyrics: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """How many jobs there are in each state, and the mean run time of the last ones in seconds."""

    counts: dict[State, int]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Load:
    """How many jobs wait and how many are worked on."""

    waiting: int
    running: int
