"""A lock with a queue: one caller at a time, in the order of arrival, whoever is interrupted.

A lock from `threading` stays locked for ever if its holder is interrupted while entering or leaving
the guarded block. Here a stack frame holds the turn, and another one each place in the queue. A
frame that has left its thread's stack, in whatever way, holds nothing: the next caller takes the
turn, with no release needed. Neither turn nor queue needs repair after an interruption at any
instruction.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from types import FrameType
from typing import TypeAlias

from headroom.errors import Cancelled, EngineInUse
from headroom.runtime.events import Stop, never

FIRST_NAP, LONGEST_NAP = 0.0005, 0.02  # seconds between two checks for the turn

Moved: TypeAlias = Callable[[int], None]


def ignored(position: int) -> None:
    """Ignore a position in the queue."""


class _Claim:
    """A place in the queue; the first one that is not over has the turn.

    It belongs to a frame: of `Turn._take` while its caller waits, afterwards of the caller. `next`
    holds the claim that follows, at key 0.
    """

    __slots__ = ("_frame", "next", "over", "thread")

    def __init__(self, frame: FrameType | None) -> None:
        self.thread = threading.get_ident()
        # Held only while the claim is: a frame keeps alive everything its callers hold.
        self._frame = frame
        self.over = frame is None
        self.next: dict[int, _Claim] = {}

    def is_of(self, frame: FrameType) -> bool:
        """Whether it belongs to this frame."""
        return frame is self._frame

    def hand_to(self, frame: FrameType) -> None:
        """Let it belong to this frame from now on. Called by the frame it belongs to."""
        self._frame = frame

    def is_over(self) -> bool:
        """Whether it was given back, or its frame is gone.

        `clear` refuses a frame that is executing, in whatever thread. `sys._current_frames` would
        tell as much, but deadlocks in Python 3.11 if the garbage collector starts inside it
        (https://github.com/python/cpython/issues/106883).
        """
        while not self.over:
            frame = self._frame
            if frame is not None:
                try:
                    frame.clear()
                except RuntimeError:
                    return False
                if self._frame is not frame:
                    continue  # it was handed over before that frame ended
            self.end()
        return True

    def end(self) -> None:
        """Mark the claim as over, and let its frame go."""
        self.over = True
        self._frame = None


class Turn:
    """A lock used as `with turn:`, in a function that leaves the block only to return or to raise.

    It is reentrant: inside the block of an outer call, the same thread enters without waiting.
    """

    def __init__(self) -> None:
        self._first = _Claim(None)  # or an earlier one: later claims are found from it

    def __enter__(self) -> None:
        self._take(sys._getframe(1), never, ignored)

    def __exit__(self, *why: object) -> None:
        self._give_back(sys._getframe(1))

    def waited_for(self, stop: Stop, moved: Moved = ignored) -> _Waited:
        """The same lock, used as `with turn.waited_for(stop):`. While others come first, `stop` is
        called, and Cancelled is raised when it returns true; `moved` is called with the position in
        the queue, 1 for the next to begin, whenever that changes. Calling for the same turn from
        either raises EngineInUse."""
        return _Waited(self, stop, moved)

    def locked(self) -> bool:
        """Whether the turn is taken."""
        return any(True for _ in self._claims())

    def is_mine(self) -> bool:
        """Whether this thread has it, or waits for it."""
        return any(claim.thread == threading.get_ident() for claim in self._claims())

    def _claims(self) -> Iterator[_Claim]:
        """Every claim that is not over: of the holder, then of who waits, in order."""
        claim: _Claim | None = self._first
        while claim is not None:
            if not claim.is_over():
                yield claim
            claim = claim.next.get(0)

    def _take(self, frame: FrameType, stop: Stop, moved: Moved) -> None:
        claims = list(self._claims())
        if claims and claims[0].thread == threading.get_ident():
            return
        if any(claim.thread == threading.get_ident() for claim in claims):
            raise EngineInUse  # called from `stop` or `moved`
        mine = _Claim(sys._getframe())
        try:
            self._join(mine)
            self._wait(mine, stop, moved)
            mine.hand_to(frame)
        except BaseException:  # an interrupt, Cancelled, or what `stop` or `moved` raised
            mine.end()  # whoever waits behind is next
            raise
        self._first = mine

    def _join(self, mine: _Claim) -> None:
        """Enter the queue at its end."""
        last = self._first
        # Of all callers that see the same end, only one follows: `setdefault` is atomic.
        while (after := last.next.setdefault(0, mine)) is not mine:
            last = after

    def _wait(self, mine: _Claim, stop: Stop, moved: Moved) -> None:
        nap, announced = FIRST_NAP, 0
        while self._before(mine):
            if stop():
                raise Cancelled("stopped while another call was at work")
            time.sleep(nap)
            nap = min(2 * nap, LONGEST_NAP)
            position = self._before(mine)
            if position and position != announced:
                announced = position
                moved(position)

    def _before(self, mine: _Claim) -> int:
        return sum(1 for _ in takewhile(lambda claim: claim is not mine, self._claims()))

    def _give_back(self, frame: FrameType) -> None:
        holder = next(self._claims(), None)
        if holder is not None and holder.is_of(frame):
            holder.end()


class _Waited:
    """A turn whose wait can be stopped."""

    def __init__(self, turn: Turn, stop: Stop, moved: Moved) -> None:
        self._turn, self._stop, self._moved = turn, stop, moved

    def __enter__(self) -> None:
        self._turn._take(sys._getframe(1), self._stop, self._moved)

    def __exit__(self, *why: object) -> None:
        self._turn._give_back(sys._getframe(1))
