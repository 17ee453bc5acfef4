"""Shows progress on standard error: a bar on a terminal, otherwise lines.

There is one line for each stage, one for each change of the position in a queue, and one after
every ten seconds without output. Everything shown comes from events. Nothing is shown unless it was
requested.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from headroom import terminal
from headroom.runtime.events import (
    Event,
    Loading,
    Progress,
    Queued,
    Replanned,
    StageDone,
    StageStarted,
    Stop,
    Tell,
    tell_nobody,
)
from headroom.units import clock, gib

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


EVERY = 10.0  # seconds without output, after which a line shows the progress
LOOK = 1.0
LEFT = "about {} left"


def has_bars(bars: bool) -> bool:
    """Whether bars are shown, if progress is requested."""
    return bars and sys.stderr.isatty()


@contextmanager
def shown(quiet: bool, bars: bool = True) -> Iterator[Tell]:
    """The listener to pass to the engine. `bars` false: lines, even on a terminal."""
    if quiet:
        yield tell_nobody
    elif has_bars(bars):
        with _bars() as progress:
            yield Bar(progress)
    else:
        with _lines() as lines:
            yield lines


class Lines:
    """A line for each stage that ended and for each that is tried again, and for each position in a
    queue; and one after every ten seconds without output, with the progress of the current stage.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._said = now()
        self._began = now()
        self._first: Progress | None = None
        self._at: Progress | None = None
        self._first_at = now()
        self._stage: str | None = None
        self._loading: Loading | None = None

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Queued):
                self._say(_waits(event))
            elif isinstance(event, StageStarted):
                self._stage, self._began = event.stage, self._now()
                self._first = self._at = self._loading = None
            elif isinstance(event, Loading):
                self._loading = event
            elif isinstance(event, Progress):
                self._loading = None
                if self._first is None or event.done < self._first.done:
                    self._first, self._first_at = event, self._now()
                self._at = event
            elif isinstance(event, StageDone):
                self._stage = None
                self._say(_ended(event))
            elif isinstance(event, Replanned):
                self._first = self._at = self._loading = None
                self._say(_again(event))
            self._remind()

    def remind(self) -> None:
        """Print the progress, if nothing was printed for long."""
        with self._lock:
            self._remind()

    def _remind(self) -> None:
        if self._stage is not None and self._now() - self._said >= EVERY:
            done = f" {self._at.done}/{self._at.total}" if self._at is not None else ""
            if self._loading is not None:
                done = f" {_loads(self._loading)}"
            self._say(
                f"{self._stage}:{done} after {clock(self._now() - self._began)}{self._left()}"
            )

    def _left(self) -> str:
        """The remaining time, at the pace since the first unit was done."""
        if self._at is None or self._first is None or self._at.done <= self._first.done:
            return ""
        pace = (self._now() - self._first_at) / (self._at.done - self._first.done)
        return f", {LEFT.format(clock(pace * (self._at.total - self._at.done)))}"

    def _say(self, line: str) -> None:
        self._said = self._now()
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@contextmanager
def _lines() -> Iterator[Tell]:
    """The lines, with a thread that checks whether one is due: a stage may be silent for long."""
    lines, over = Lines(), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            lines.remind()

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        over.set()
        thread.join()


def _ended(event: StageDone) -> str:
    loading = f", {clock(event.loading)} of it loading" if event.loading >= 0.1 else ""
    size = memory(event.planned, event.measured, event.counted)
    return f"{event.stage}: {clock(event.seconds)}{loading}, {size}"


def memory(planned: int, measured: int, counted: bool) -> str:
    """The measured and planned memory of a stage; on a host, where only the whole process can be
    measured, the planned memory."""
    if planned and not counted:
        return f"{gib(planned)} planned"
    return f"{gib(measured)} ({gib(planned)} planned)" if planned else gib(measured)


class Bar:
    """One bar, for the current stage."""

    def __init__(self, progress: Bars) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, steps="")

    def __call__(self, event: Event) -> None:
        if isinstance(event, Queued):
            self._progress.reset(self._task, description=_waits(event), total=None, steps="")
        elif isinstance(event, StageStarted):
            self._progress.reset(self._task, description=event.stage, total=None, steps="")
        elif isinstance(event, Loading):
            self._progress.update(self._task, steps=_loads(event))
        elif isinstance(event, Progress):
            steps = f"{event.done}/{event.total}"
            self._progress.update(self._task, completed=event.done, total=event.total, steps=steps)
        elif isinstance(event, Replanned):
            self._progress.console.print(_again(event), markup=False, highlight=False)


def _waits(event: Queued) -> str:
    return f"waiting: number {event.position} in the queue"


def _loads(event: Loading) -> str:
    return f"loading {event.part} ({gib(event.nbytes)})"


def _again(event: Replanned) -> str:
    same = "the song is the same" if event.same_output else "the song will differ"
    return f"{event.stage}: out of memory, tried again ({event.why}; {same})"


@contextmanager
def _bars() -> Iterator[Bars]:
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Times(ProgressColumn):
        """The elapsed and the remaining time, each with its label."""

        def render(self, task: Task) -> Text:
            return Text(times(task.elapsed, task.time_remaining))

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[steps]}"),
        Times(),
    )
    console = terminal.console(sys.stderr)
    with Bars(*columns, console=console, transient=True) as progress:
        yield progress


def times(elapsed: float | None, remaining: float | None) -> str:
    """`after 12 s`, and `about 30 s left` if that is known."""
    so_far = f"after {clock(elapsed or 0.0)}"
    return so_far if remaining is None else f"{so_far}, {LEFT.format(clock(remaining))}"


@contextmanager
def stoppable() -> Iterator[Stop]:
    """The stop function for the engine: whether Ctrl-C was pressed. A second one aborts at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set  # signals come to the main thread only
        return

    def pressed(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        sys.stderr.write("\nstopping after this step; Ctrl-C again stops at once.\n")

    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield stopped.is_set
    finally:
        signal.signal(signal.SIGINT, before)
