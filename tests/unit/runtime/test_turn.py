"""A turn is taken by a frame, and free once that frame is gone, however it went."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from headroom.errors import Cancelled
from headroom.runtime import turn as module
from headroom.runtime.turn import Turn

SOON = 20.0  # seconds; only a test that fails waits so long


def hold(turn: Turn, work: Callable[[], object] = lambda: None) -> None:
    with turn:
        work()


def elsewhere(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_one_thread_at_a_time_and_its_own_inner_calls_do_not_wait() -> None:
    turn, counted = Turn(), []

    def count() -> None:
        for _ in range(50):
            hold(turn, lambda: hold(turn, add))

    def add() -> None:
        before = len(counted)
        time.sleep(0)
        counted.append(before)

    threads = [elsewhere(count) for _ in range(4)]
    for thread in threads:
        thread.join(SOON)
    assert counted == list(range(200))
    assert not turn.locked()


def test_an_inner_call_does_not_give_the_turn_back() -> None:
    turn, seen = Turn(), []

    def work() -> None:
        hold(turn)
        other = elsewhere(lambda: seen.append(turn.locked()))
        other.join(SOON)

    hold(turn, work)
    assert seen == [True] and not turn.locked()


def test_who_waits_may_stop_waiting() -> None:
    turn, inside, asked = Turn(), threading.Event(), []

    def waits() -> None:
        with turn.waited_for(lambda: len(asked) > 2 or bool(asked.append(1))):
            raise AssertionError("it was not free")

    def work() -> None:
        inside.set()
        with pytest.raises(Cancelled, match="another call"):
            waits_elsewhere()

    def waits_elsewhere() -> None:
        caught: list[BaseException] = []

        def attempt() -> None:
            try:
                waits()
            except Cancelled as error:
                caught.append(error)

        elsewhere(attempt).join(SOON)
        raise caught[0]

    hold(turn, work)
    assert inside.is_set() and not turn.locked()


def _lines(work: Callable[[], object], at: int | None) -> int:
    """Lines of the module and of `hold` that are reached; at the one of that number it raises."""
    counted = 0
    codes = (hold.__code__.co_filename, module.__file__)

    def line(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal counted
        if event == "line":
            counted += 1
            if counted == at:
                raise KeyboardInterrupt
        return line

    def called(frame: FrameType, event: str, argument: object) -> Any:
        inside = frame.f_code.co_filename == module.__file__ or frame.f_code is hold.__code__
        return line if inside and frame.f_code.co_filename in codes else None

    sys.settrace(called)
    try:
        work()
    finally:
        sys.settrace(None)
    return counted


def test_interrupted_at_any_line_the_turn_is_free_for_everybody() -> None:
    first = Turn()
    lines = _lines(lambda: hold(first), None)
    assert lines > 20
    for number in range(1, lines + 1):
        turn, kept = Turn(), []
        try:
            _lines(lambda: hold(turn), number)  # noqa: B023
        except KeyboardInterrupt as error:
            kept.append(error)  # and its frames
        assert kept, number
        other = elsewhere(lambda: hold(turn))  # noqa: B023
        other.join(SOON)
        assert not other.is_alive(), number
        assert not turn.locked()


COLLECTING = """
import gc, threading, time
from headroom.runtime import turn as module

module.LONGEST_NAP = 0.0
turn = module.Turn()

class Cycle:  # garbage whose finalizer lets other threads run
    def __init__(self):
        self.me = self
    def __del__(self):
        time.sleep(0)

def work():
    for _ in range(5):
        with turn:
            for _ in range(40):
                Cycle()
                time.sleep(0)

gc.set_threshold(20)
threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_waiting_goes_on_while_garbage_is_collected() -> None:
    # A process of its own: where this fails, no thread of it runs again.
    words = [sys.executable, "-c", COLLECTING]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("done\n", "")
