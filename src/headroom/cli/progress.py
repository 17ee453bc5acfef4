"""What is going on, told on standard error: a bar on a terminal, else one line a stage.

Everything shown comes from events. Nothing is shown where nobody wants it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from headroom import terminal
from headroom.runtime.events import (
    Event,
    Progress,
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


def has_bars(bars: bool) -> bool:
    """Whether bars are shown, where they are wanted."""
    return bars and sys.stderr.isatty()


@contextmanager
def shown(quiet: bool, bars: bool = True) -> Iterator[Tell]:
    """The listener to give the engine. `bars` false: lines, also on a terminal."""
    if quiet:
        yield tell_nobody
    elif has_bars(bars):
        with _bars() as progress:
            yield Bar(progress)
    else:
        yield tell_lines


def tell_lines(event: Event) -> None:
    """One line for each stage that ended, and one for each that is tried again."""
    if isinstance(event, StageDone):
        loading = f", {clock(event.loading)} of it loading" if event.loading >= 0.1 else ""
        planned = f" ({gib(event.planned)} planned)" if event.planned else ""
        line = f"{event.stage}: {clock(event.seconds)}{loading}, {gib(event.measured)}{planned}"
    elif isinstance(event, Replanned):
        line = _again(event)
    else:
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Bar:
    """One bar, for the stage at work."""

    def __init__(self, progress: Bars) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, steps="")

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._progress.reset(self._task, description=event.stage, total=None, steps="")
        elif isinstance(event, Progress):
            steps = f"{event.done}/{event.total}"
            self._progress.update(self._task, completed=event.done, total=event.total, steps=steps)
        elif isinstance(event, Replanned):
            self._progress.console.print(_again(event), markup=False, highlight=False)


def _again(event: Replanned) -> str:
    same = "the song is the same" if event.same_output else "the song will differ"
    return f"{event.stage}: out of memory, tried again ({event.why}; {same})"


@contextmanager
def _bars() -> Iterator[Bars]:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[steps]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = terminal.console(sys.stderr)
    with Bars(*columns, console=console, transient=True) as progress:
        yield progress


@contextmanager
def stoppable() -> Iterator[Stop]:
    """The question to give the engine: has Ctrl-C been pressed? Pressed again, it stops hard."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # signals come to the main thread only
        return

    def pressed(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        sys.stderr.write("\nstopping after this step; Ctrl-C again stops at once.\n")

    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
