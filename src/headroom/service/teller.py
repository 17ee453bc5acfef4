"""Writes the events of a job into the database, progress not more often than is useful."""

from __future__ import annotations

import json
import time

from headroom.engine.wire import event_json
from headroom.errors import ClaimLost, DatabaseFailed, StorageFull
from headroom.jobs.tallies import Count, Tally
from headroom.jobs.values import Claim, Told
from headroom.jobs.worker import Worker
from headroom.log import log
from headroom.runtime.events import Event, Loading, Progress, Queued, Replanned, StageDone

PROGRESS_SECONDS = 0.5  # between two that are written; the last one of a stage always is


class Teller:
    """The listener for the work on a job. `lost`: the job is not this worker's any more.

    What cannot be written now is written with the next event.
    """

    def __init__(self, worker: Worker, claim: Claim) -> None:
        self._worker, self._claim = worker, claim
        self._waiting: list[Told] = []
        self._stage = ""
        self._next = 0.0  # when progress is written again, by the steady clock
        self.lost = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress) and not self._is_due(event):
            return
        passing = isinstance(event, Progress | Queued | Loading)
        text = json.dumps(event_json(event, self._claim.job))
        self._waiting.append(Told(text, passing, _counts(event)))
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self.lost or not self._waiting:
            return
        try:
            self._worker.tell(self._claim, self._waiting)
        except ClaimLost:
            self.lost = True
        except (DatabaseFailed, StorageFull) as error:
            log.warning("events of job %s: %s", self._claim.job, error)
            return
        self._waiting = []

    def _is_due(self, event: Progress) -> bool:
        now = time.monotonic()
        same = event.stage == self._stage
        if same and now < self._next and event.done < event.total:
            return False
        self._stage, self._next = event.stage, now + PROGRESS_SECONDS
        return True


def _counts(event: Event) -> tuple[Count, ...]:
    """What an event adds to the counters."""
    match event:
        case StageDone(stage=stage, seconds=seconds, loading=loading):
            return (
                Count(Tally.STAGES, stage),
                Count(Tally.STAGE_SECONDS, stage, seconds),
                Count(Tally.LOADING_SECONDS, stage, loading),
            )
        case Loading(part=part, nbytes=nbytes):
            return (Count(Tally.LOADED_BYTES, part, nbytes),)
        case Replanned(stage=stage):
            return (Count(Tally.RECOVERED, stage),)
    return ()
