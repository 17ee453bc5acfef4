"""Works on the jobs of a queue, one after another, with the engines of one card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from headroom import paths
from headroom.engine.wire import error_json
from headroom.errors import (
    Cancelled,
    ClaimLost,
    DatabaseFailed,
    HeadroomError,
    InternalFault,
    StorageFull,
)
from headroom.jobs.files import Files
from headroom.jobs.pulse import BEAT_SECONDS, Pulse
from headroom.jobs.values import Claim
from headroom.jobs.worker import Worker
from headroom.log import log
from headroom.params.note import Note
from headroom.runtime.events import Stop, Tell, WithAudio
from headroom.service.hidden import Hidden
from headroom.service.open_engines import Engines as Engines
from headroom.service.previews import Previews
from headroom.service.products import Keeper, Kept
from headroom.service.steward import Steward
from headroom.service.teller import Teller
from headroom.service.work import Work, files_of, on_this_machine, sheet_in, with_paths
from headroom.settings import Settings

IDLE_SECONDS = 0.25  # between two looks into an empty queue
_PAUSES = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # before an ending is tried again


@dataclass(frozen=True, slots=True)
class Maker:
    """One that claims jobs and makes what they ask for until `stop` is set, or the device fails.

    A job that is at work when `stop` is set is given back.
    """

    worker: Worker
    files: Files
    engines: Engines
    settings: Settings
    stop: Event

    def run(self) -> None:
        """Work until `stop` is set, here where the device fails. A job that fails, and a database
        that does, end nothing."""
        hidden = Hidden(self._folders())
        roster, name = self.worker.roster, self.worker.holder
        self._take_over()
        with Steward(roster, name, self.engines, hidden) as steward:
            self._run(steward)

    def _take_over(self) -> None:
        """Use the model that an earlier process was told to load for jobs that name none."""
        family = self.engines.family
        try:
            model = self.worker.roster.chosen(family)
        except DatabaseFailed as error:
            log.warning("the model of jobs that name none: %s", error)
            return
        if model is not None:
            self.engines.choose(family, model)

    def _run(self, steward: Steward) -> None:
        while not self.stop.is_set():
            if steward.load(self.stop.is_set):
                continue
            try:
                claim = self.worker.claim(self.engines.has)
            except (DatabaseFailed, StorageFull) as error:
                log.warning("the queue: %s", error)
                self.stop.wait(_PAUSES[2])
                continue
            if claim is None:
                self.stop.wait(IDLE_SECONDS)
            else:
                steward.job = claim.job
                self.work(claim)
                steward.job = None

    def work(self, claim: Claim) -> None:
        """Make what a job asks for, and end it."""
        teller = Teller(self.worker, claim)
        with (
            Previews(self.worker, self.files.pieces, claim, teller) as previews,
            Pulse(self.worker, claim, BEAT_SECONDS) as pulse,
        ):
            listener = WithAudio(previews)

            def halted() -> bool:
                return self.stop.is_set() or teller.lost or pulse.order != "go"

            with tempfile.TemporaryDirectory(prefix="headroom-job-") as folder:
                end = self._made(claim, Path(folder), listener, halted)
            if end is None and pulse.order in ("cancel", "expire"):
                end = self.worker.stopped
            elif end is None:
                end = self.worker.give_back
            teller.flush()
            if not teller.lost and pulse.order != "lost":
                self._end(claim, end)

    def _made(
        self, claim: Claim, folder: Path, tell: Tell, halted: Stop
    ) -> Callable[[Claim], None] | None:
        """Do the work; how the job ends, None for one that was stopped."""
        hidden = Hidden((folder, *self._folders()))
        try:
            kept = self._kept(claim, folder, hidden, tell, halted)
        except HeadroomError as error:
            stopped = isinstance(error, Cancelled) and halted()
            return None if stopped else self._failing(error, hidden)
        except Exception as error:
            log.exception("job %s", claim.job)
            if self.engines.have_a_device:
                self.engines.close()  # whatever state they are in
            else:
                self.stop.set()  # a new process gets the device back
            return self._failing(InternalFault(type(error).__name__), hidden)
        return lambda claim: self.worker.finish(
            claim, kept.result, kept.made, kept.counts, kept.same
        )

    def _kept(self, claim: Claim, folder: Path, hidden: Hidden, tell: Tell, halted: Stop) -> Kept:
        """Make what a job asks for, and keep it."""
        work = Work.of(claim.request)
        asked, first = work.read(), work.read_first()
        named = [files_of(one) for one in (asked, first) if one is not None]
        ids = tuple(dict.fromkeys(id for some in named for id in some))
        with on_this_machine(ids, self.files, claim.key, hidden) as local:
            engine, notes = self.engines.of(work), tuple[Note, ...]()
            if first is not None:
                sheet = engine.perform(with_paths(first, local), tell, halted)
                asked, notes = work.filled(sheet_in(sheet.output)), sheet.notes
            result = engine.perform(with_paths(asked, local), tell, halted)
            news = [note for note in result.notes if note not in notes]
            result = replace(result, notes=(*notes, *news))
        return Keeper(self.files, claim.key, folder, hidden, next(iter(ids), None)).keep(result)

    def _folders(self) -> Iterator[Path]:
        """Folders of this machine, which no client sees."""
        yield Path.cwd()
        yield from (self.settings.checkpoints_dir, self.settings.cache_dir)
        yield from (self.settings.output_dir, self.files.storage.staging.parent)
        if (home := paths.home()) is not None:
            yield home

    def _failing(self, error: HeadroomError, hidden: Hidden) -> Callable[[Claim], None]:
        text = json.dumps(hidden.object(error_json(error)))
        return lambda claim: self.worker.fail(claim, text)

    def _end(self, claim: Claim, end: Callable[[Claim], None]) -> None:
        """End a job, also where the database fails for a while. One that cannot be ended at all is
        taken back by a `Watch`, as this worker beats for it no more."""
        for pause in _PAUSES:
            try:
                end(claim)
            except ClaimLost as error:
                log.warning("%s", error)
            except (DatabaseFailed, StorageFull) as error:
                log.warning("the end of job %s: %s", claim.job, error)
                self.stop.wait(pause)
                continue
            except HeadroomError as error:  # what was made cannot be recorded
                end = self._failing(error, Hidden())
                continue
            return
