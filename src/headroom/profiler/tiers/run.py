"""Runs the tier test: one process for each card size, and collects their rows.

The processes report each finding at once (`child`); nothing here imports torch. Several run in
parallel if the host, and the real card if there is one, have room for them.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, TypeAlias

import psutil

import headroom
from headroom.models.family import Family
from headroom.profiler.console import Console
from headroom.profiler.options import Options
from headroom.profiler.tiers.child import CORES, MARK, environment
from headroom.profiler.tiers.report import printed, progress
from headroom.profiler.tiers.rows import BATCHES, Case, TierRow, TierTest, Work
from headroom.profiler.tiers.table import published
from headroom.units import GIB

Say: TypeAlias = Callable[[str], None]
CHILD = (sys.executable, "-m", "headroom.profiler.tiers.child")
LIMIT = 900.0  # seconds a process may take
TOGETHER = 4  # processes on one real card
BESIDE = GIB  # of the card, that each of those takes beyond its size
HOST_ROOM = 20 * GIB  # host memory for each of those: weights, and a page-locked copy


def run(options: Options, console: Console | None = None) -> TierTest:
    """Test every requested size, and print the outcome."""
    console = Console() if console is None else console
    test = tier_test(options, console.say)
    console.out(printed(test))
    return test


def tier_test(options: Options, say: Say) -> TierTest:
    """Test every requested size; `say` receives a line as soon as a row is complete.

    An interruption from the keyboard ends it, and what was measured is kept.
    """
    began = time.perf_counter()
    works = tuple(work_of(size, options) for size in options.tiers)
    rows: dict[int, list[TierRow]] = {index: [] for index in range(len(works))}
    interrupted = False
    try:
        for index, row in _rows(works):
            rows[index].append(row)
            say(progress(row))
    except KeyboardInterrupt:
        interrupted = True
    all_rows = tuple(row for index in rows for row in rows[index])
    return TierTest(
        all_rows,
        time.perf_counter() - began,
        interrupted,
        options.tier_boundary,
        options.tier_batch_boundary,
        options.family.name,
    )


def work_of(size: float, options: Options) -> Work:
    """The input of the process for a size."""
    opened, settings = options.opening.options, options.opening.settings
    family, request = options.family, options.request()
    steps = family.steps_field
    taken = (*family.rehearsal().texts, *((steps,) if steps in options.fields else ()))
    compile = settings.compile if opened.compile is None else opened.compile
    folder = opened.checkpoint_dir
    return Work(
        vram=size,
        cases=cases_of(size, options),
        model=opened.model or settings.model or _usual_model(family),
        fields={name: getattr(request, name) for name in taken if name is not None},
        duration=options.tier_duration,
        device=opened.device,
        dtype=opened.dtype,
        checkpoint_dir=None if folder is None else str(folder.absolute()),
        compile=compile,
        skip_compile=options.tier_skip_compile,
        threads=opened.threads,
        family=family.name,
    )


def _usual_model(family: Family) -> str:
    return family.name if family.folders is None else family.folders.catalogue.usual


def cases_of(size: float, options: Options) -> tuple[Case, ...]:
    """The cases at a size. Variants that equal the tier's default are not tried again."""
    row = published(size, options.family.name)
    has_lm = bool(row.lms)
    if options.tier_batch_boundary:
        kinds = (False, True) if has_lm else (False,)
        batches = tuple(
            Case("batch", use_lm, count, "with LM" if use_lm else "no LM")
            for use_lm in kinds
            for count in BATCHES
        )
        if not options.tier_boundary:
            return batches
    else:
        batches = ()
    use_lm = options.tier_with_lm and has_lm
    cases = [Case("default", use_lm)]
    if options.tier_boundary and row.quantization is not None:
        cases.append(Case("no-quant", use_lm))
    if options.tier_boundary and row.offload != "none":
        cases.append(Case("no-offload", use_lm))
    return (*cases, *batches)


# --- processes -------------------------------------------------------------------------------


@dataclass(slots=True)
class _ChildProcess:
    """A running process: its number, its input, and the rows it has sent."""

    index: int
    work: Work
    process: subprocess.Popen[str]
    errors: IO[bytes]
    ends: float
    rows: list[TierRow] = field(default_factory=list)
    late: bool = False

    def words(self) -> str:
        """The last line it wrote to its standard error."""
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


_Event: TypeAlias = tuple[int, Mapping[str, Any] | None]  # None: its output has ended


def _rows(works: Sequence[Work]) -> Iterator[tuple[int, TierRow]]:
    """Number of the work, and a row, as they arrive. Closing the iterator ends the processes."""
    events: queue.Queue[_Event] = queue.Queue()
    waiting = list(enumerate(works))
    running: dict[int, _ChildProcess] = {}
    card: Mapping[str, Any] | None = None  # known when the first process reports it
    try:
        while waiting or running:
            while waiting and _has_room(card, [r.work for r in running.values()], waiting[0][1]):
                index, work = waiting.pop(0)
                running[index] = _start(index, work, events)
            index, message = _next(events, running)
            child = running[index]
            if message is None:
                del running[index]
                yield from ((index, row) for row in _rows_at_exit(child))
            elif "card" in message:
                card = message["card"] if card is None else card
            else:
                row = TierRow.of(message["row"])
                child.rows.append(row)
                yield index, row
    finally:
        for child in running.values():
            child.process.kill()
            child.process.wait()
            child.errors.close()


def _has_room(card: Mapping[str, Any] | None, running: Sequence[Work], then: Work) -> bool:
    """Whether another process may start."""
    if not running:
        return True
    if card is None:
        return False
    cores = os.cpu_count() or 1
    if not card["real"]:
        return len(running) < cores
    taken = sum(work.vram * GIB + BESIDE for work in (*running, then))
    host = psutil.virtual_memory().available
    fits = taken < card["free"] and host > HOST_ROOM * (len(running) + 1)
    return fits and len(running) < min(TOGETHER, cores // CORES)


def _start(index: int, work: Work, events: queue.Queue[_Event]) -> _ChildProcess:
    child_environment = environment(work.vram, os.environ)
    package_root = str(Path(headroom.__file__).parents[1])
    child_environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, (package_root, child_environment.get("PYTHONPATH")))
    )
    errors = tempfile.TemporaryFile()
    process = subprocess.Popen(
        CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=child_environment,
        text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    threading.Thread(target=_listen, args=(index, work, process, events), daemon=True).start()
    return _ChildProcess(index, work, process, errors, time.monotonic() + LIMIT)


def _listen(
    index: int, work: Work, process: subprocess.Popen[str], events: queue.Queue[_Event]
) -> None:
    """Send a process its work, and pass on its output."""
    assert process.stdin is not None and process.stdout is not None
    try:
        with process.stdin:
            json.dump(work.json(), process.stdin)
    except OSError:  # it has already ended; that is reported below
        pass
    with process.stdout:
        for line in process.stdout:
            if line.startswith(MARK):
                events.put((index, json.loads(line[len(MARK) :])))
    events.put((index, None))


def _next(events: queue.Queue[_Event], running: Mapping[int, _ChildProcess]) -> _Event:
    """The next event; processes that take too long are ended meanwhile."""
    while True:
        try:
            return events.get(timeout=0.5)
        except queue.Empty:
            for child in running.values():
                if time.monotonic() > child.ends and not child.late:
                    child.late = True
                    child.process.kill()


def _rows_at_exit(child: _ChildProcess) -> Iterator[TierRow]:
    """A row for the unfinished case a process was working on when it ended."""
    code = child.process.wait()
    last_line = child.words()
    child.errors.close()
    if code == 0:
        return
    fault = f"its process ended with {code}: {last_line}"
    if child.late:
        fault = f"its process was not done within {LIMIT:g} s"
    done = {row.test_variant for row in child.rows}
    stopped = {case.series for case in child.work.cases for row in child.rows
               if case.series and case.name == row.test_variant and not row.ok}  # fmt: skip
    unfinished = [c for c in child.work.cases if c.name not in done and c.series not in stopped]
    for case in unfinished[:1]:
        yield replace(_blank(child.work, case), faults=(fault,))
    for case in unfinished[1:]:
        yield replace(_blank(child.work, case), faults=("not tried: its process had ended",))


def _blank(work: Work, case: Case) -> TierRow:
    """A row with no findings."""
    return TierRow(
        work.vram, published(work.vram, work.family).name, case.name, case.use_lm, case.songs,
        work.duration, "failed", model=work.model,
    )  # fmt: skip
