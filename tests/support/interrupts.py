"""Work that is interrupted at one line, and what must hold of an engine afterwards.

A run is first recorded: every line of the watched folders, and how often it is reached. Then it is
made again and an exception is raised at the n-th visit of one line, as a Ctrl-C would. What was
raised is kept, as a notebook keeps it, with all that its frames hold.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

import headroom
from headroom.engine.engine import Engine
from headroom.engine.result import Result
from headroom.errors import HeadroomError
from support.woven import ASKED

SOURCE = Path(headroom.__file__).parent
WATCHED = ("runtime", "engine", "device")
STUCK = 20.0  # seconds another thread may take for what takes milliseconds

Place = tuple[str, int]  # a file below the package, and a line of it


@dataclass(frozen=True, slots=True)
class Visit:
    """The `number`-th time (from 1) that a line is reached."""

    file: str
    line: int
    number: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} (visit {self.number})"


class Tracer:
    """Counts the visits of lines, and raises at one of them. Only in the thread that enters it."""

    def __init__(
        self,
        watched: Sequence[str] = WATCHED,
        at: Visit | None = None,
        error: type[BaseException] = KeyboardInterrupt,
    ) -> None:
        self._roots = tuple(str(SOURCE / name) for name in watched)
        self._names: dict[str, str | None] = {}
        self._at, self._error = at, error
        self.visits: Counter[Place] = Counter()
        self.raised = False

    def __enter__(self) -> Tracer:
        sys.settrace(self._called)
        return self

    def __exit__(self, *why: object) -> None:
        sys.settrace(None)

    def _called(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line if self._name(frame) is not None else None

    def _name(self, frame: FrameType) -> str | None:
        path = frame.f_code.co_filename
        if path not in self._names:
            inside = path.startswith(self._roots)
            self._names[path] = str(Path(path).relative_to(SOURCE)) if inside else None
        return self._names[path]

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            place = self._name(frame) or "", frame.f_lineno
            self.visits[place] += 1
            at = self._at
            if at and place == (at.file, at.line) and self.visits[place] == at.number:
                self.raised = True
                raise self._error
        return self._line


def visits(work: Callable[[], object], watched: Sequence[str] = WATCHED) -> Counter[Place]:
    """How often each line is reached."""
    with Tracer(watched) as tracer:
        work()
    return tracer.visits


def chosen(counts: Counter[Place], more: bool) -> list[Visit]:
    """Visits to interrupt: the first of each line; with `more` one between and the last, too."""
    found = []
    for (file, line), count in sorted(counts.items()):
        numbers = {1, count // 2 + 1, count} if more else {1}
        found += [Visit(file, line, number) for number in sorted(numbers)]
    return found


def interrupted(
    work: Callable[[], object],
    at: Visit,
    error: type[BaseException] = KeyboardInterrupt,
    watched: Sequence[str] = WATCHED,
) -> BaseException | None:
    """What came out of work that was interrupted; None where the line was not reached, or where
    what was raised got lost on the way (an exception in a finaliser does)."""
    tracer, said = Tracer(watched, at, error), sys.unraisablehook
    sys.unraisablehook = lambda lost: None if lost.exc_type is error else said(lost)
    try:
        with tracer:
            work()
    except BaseException as caught:  # noqa: BLE001 - whatever it became
        return caught
    finally:
        sys.unraisablehook = said
    return None


class State:
    """What must be after an interrupt as it was before the work began."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = torch.get_num_threads()
        self._running = threading.active_count()

    def faults(self) -> list[str]:
        """What is not as it should be, while nobody works."""
        engine, found = self._engine, []
        if torch.is_inference_mode_enabled():
            found.append("gradients are off")
        if _get_current_dispatch_mode_stack():
            found.append("the device's mode is in force")
        if torch.get_num_threads() != self._threads:
            found.append(f"{torch.get_num_threads()} threads, not {self._threads}")
        if self._other_thread(
            lambda: (engine.status(), engine._pool.make_room(engine._pool.loaded))
        ):
            found.append("another thread waits for ever")
            return found
        leases = sum(part.leases for part in engine.status())
        if leases:
            found.append(f"{leases} leases")
        owned, used = engine._pool.ledger.bytes(), engine.device.memory_allocated()
        if owned != used - engine._pool.floor:
            found.append(f"the book says {owned} bytes, the device {used - engine._pool.floor}")
        if threading.active_count() > self._running:
            found.append(f"{threading.active_count()} threads run, not {self._running}")
        return found

    @staticmethod
    def _other_thread(work: Callable[[], object]) -> bool:
        """Whether it never ends."""
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(STUCK)
        return thread.is_alive()


@dataclass(frozen=True, slots=True)
class Report:
    """What a sweep did. `lines` that the work reaches, and what was wrong, a line each."""

    lines: int
    visits: int
    interrupts: int
    faults: list[str]


def swept(
    opened: Callable[[], Engine],
    act: Callable[[Engine], object],
    *,
    one_of: int = 1,
    more: bool = False,
    warm: bool = False,
    ends: bool = False,
    error: type[BaseException] = KeyboardInterrupt,
    watched: Sequence[str] = WATCHED,
    song: Callable[[Engine], Result] = lambda engine: engine.generate(ASKED),
    told: Callable[[str], object] = lambda text: None,
) -> Report:
    """Interrupt `act` on an engine at its lines in turn, and see after each that nothing is left
    behind and that the next song has the bytes of an undisturbed one.

    one_of  of so many visits one is interrupted
    more    the first visit of each line, and one between and the last
    warm    parts are loaded before the act; else they are not
    ends    the act closes the engine: a new one is opened for each interrupt
    """

    def ready() -> None:
        if warm:
            song(engine)
        else:
            engine.release()

    engine = opened()
    expected = song(engine).audio.samples
    ready()
    counted = visits(lambda: act(engine), watched)
    todo = chosen(counted, more)[::one_of]
    faults = []
    for number, at in enumerate(todo):
        if ends:
            engine = opened()
        ready()
        state = State(engine)
        kept = interrupted(lambda: act(engine), at, error, watched)  # noqa: B023 - called at once
        found = state.faults()
        try:
            if ends:
                engine.close()
            elif not torch.equal(song(engine).audio.samples, expected):
                found.append("the next song has other bytes")
            engine.release()
            engine._pool.check_integrity()
        except (HeadroomError, RuntimeError, ValueError) as failed:
            found.append(f"next: {type(failed).__name__}: {failed}")
        if found:
            faults.append(f"{at}, {type(kept).__name__}: {'; '.join(found)}")
            engine = opened()
        if number % 100 == 99:
            told(f"{number + 1} of {len(todo)}, {len(faults)} faults")
    return Report(len(counted), counted.total(), len(todo), faults)
