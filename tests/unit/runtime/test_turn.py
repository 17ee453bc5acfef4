"""A turn is taken by a frame, and free once that frame is gone, however it went."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import pytest

from headroom.errors import Cancelled, EngineInUse
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

    gc.disable()  # a finalizer of something else, run in between, would swallow what is raised
    sys.settrace(called)
    try:
        work()
    finally:
        sys.settrace(None)
        gc.enable()
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


class Queue:
    """Callers of a turn that is held until `go_on`, each in a thread; they are started in order."""

    def __init__(self) -> None:
        self.turn, self.began = Turn(), list[str]()
        self.positions: dict[str, list[int]] = {}
        self.errors: dict[str, BaseException] = {}
        self._go_on, self._at_work = threading.Event(), threading.Event()
        self._threads = [elsewhere(lambda: hold(self.turn, self._hold))]
        assert self._at_work.wait(SOON)

    def _hold(self) -> None:
        self._at_work.set()
        assert self._go_on.wait(SOON)

    def add(self, name: str, stop: Callable[[], bool] = lambda: False) -> threading.Thread:
        """A caller, once it waits."""
        told = self.positions[name] = []

        def wait() -> None:
            with self.turn.waited_for(stop, told.append):
                self.began.append(name)

        def call() -> None:
            try:
                wait()
            except BaseException as error:  # noqa: BLE001 - looked at by the test
                self.errors[name] = error

        self._threads.append(elsewhere(call))
        self.until(lambda: bool(told or name in self.errors))
        return self._threads[-1]

    def until(self, true: Callable[[], bool]) -> None:
        late = time.monotonic() + SOON
        while not true():
            assert time.monotonic() < late
            time.sleep(0.001)

    def end(self) -> None:
        self._go_on.set()
        for thread in self._threads:
            thread.join(SOON)
            assert not thread.is_alive()
        assert not self.turn.locked()


def test_who_comes_first_goes_first_and_hears_each_position_once() -> None:
    queue = Queue()
    for name in "abcd":
        queue.add(name)
    assert queue.positions == {"a": [1], "b": [2], "c": [3], "d": [4]}
    queue.end()
    assert queue.began == list("abcd") and not queue.errors
    for told in queue.positions.values():
        assert told == sorted(set(told), reverse=True)


def test_who_leaves_the_queue_lets_the_others_move_up() -> None:
    queue, stopped = Queue(), threading.Event()
    queue.add("a")
    leaving = queue.add("b", stopped.is_set)
    queue.add("c")
    stopped.set()
    leaving.join(SOON)
    assert isinstance(queue.errors["b"], Cancelled) and queue.began == []
    queue.until(lambda: queue.positions["c"] == [3, 2])
    assert queue.positions["a"] == [1] and queue.positions["b"] == [2]
    queue.end()
    assert queue.began == ["a", "c"]


def test_a_call_from_a_callback_of_the_wait_is_refused() -> None:
    queue = Queue()

    def stop() -> bool:
        hold(queue.turn)
        return False

    queue.add("a", stop)
    assert isinstance(queue.errors["a"], EngineInUse)
    queue.add("b")
    queue.end()
    assert queue.began == ["b"]


def test_interrupted_at_any_line_while_it_waits_a_caller_leaves_a_clean_queue() -> None:
    queue = Queue()

    def attempt() -> None:
        asked: list[int] = []
        with queue.turn.waited_for(lambda: len(asked) > 1 or bool(asked.append(1))):
            raise AssertionError("it was not free")

    def cancelled() -> None:
        with pytest.raises(Cancelled):
            attempt()

    lines = _lines(cancelled, None)
    assert lines > 60
    queue.add("first")
    kept = []
    for number in range(1, lines + 1):
        try:
            _lines(cancelled, number)  # its error takes the place of Cancelled
        except KeyboardInterrupt as error:
            kept.append(error)
        assert not queue.turn.is_mine(), number
    queue.add("last")
    assert len(kept) == lines
    assert queue.positions == {"first": [1], "last": [2]}
    queue.end()
    assert queue.began == ["first", "last"]


def test_a_place_that_is_handed_over_while_it_is_looked_at_is_not_over() -> None:
    class Ending:
        """A frame that ends, its claim handed over, just before it is cleared."""

        def clear(self) -> None:
            claim.hand_to(executing)

    executing = sys._getframe()
    claim = module._Claim(cast("FrameType", Ending()))
    assert not claim.is_over() and claim.is_of(executing)
