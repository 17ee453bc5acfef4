"""A lock for one caller at a time that stays usable when its holder is interrupted.

A lock from `threading` stays locked for ever if its holder is interrupted while entering or leaving
the guarded block. Here a stack frame holds the turn. A frame that has left its thread's stack, in
whatever way, holds nothing: the next caller takes the turn, with no release needed. A turn needs
no repair after an interruption at any instruction.
"""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType

from headroom.errors import Cancelled
from headroom.runtime.events import Stop, never

LONGEST_NAP = 0.02  # seconds between two checks for the turn


class _Claim:
    """A claim to the turn by a thread's frame. `next` holds the claim that follows, at key 0."""

    __slots__ = ("_frame", "next", "over", "thread")

    def __init__(self, frame: FrameType | None) -> None:
        self.thread = threading.get_ident()
        # Held only while the claim is: a frame keeps alive everything its callers hold.
        self._frame = frame
        self.over = frame is None
        self.next: dict[int, _Claim] = {}

    def is_of(self, frame: FrameType) -> bool:
        """Whether this frame took the turn."""
        return frame is self._frame

    def is_over(self) -> bool:
        """Whether the turn was given back, or its frame is gone.

        `clear` refuses a frame that is executing, in whatever thread. `sys._current_frames` would
        tell as much, but deadlocks in Python 3.11 if the garbage collector starts inside it
        (https://github.com/python/cpython/issues/106883).
        """
        frame = self._frame
        if not self.over and frame is not None:
            try:
                frame.clear()
            except RuntimeError:
                return False
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
        self._last = _Claim(None)  # or an earlier one: later claims are found from it

    def __enter__(self) -> None:
        self._take(sys._getframe(1), never)

    def __exit__(self, *why: object) -> None:
        self._give_back(sys._getframe(1))

    def waited_for(self, stop: Stop) -> _Waited:
        """The same lock, used as `with turn.waited_for(stop):`; `stop` is called while others hold
        the turn, and Cancelled is raised when it returns true."""
        return _Waited(self, stop)

    def locked(self) -> bool:
        """Whether the turn is taken."""
        return not self._holder().is_over()

    def is_mine(self) -> bool:
        """Whether this thread has it."""
        holder = self._holder()
        return holder.thread == threading.get_ident() and not holder.is_over()

    def _holder(self) -> _Claim:
        claim = self._last
        while claim.next:
            claim = claim.next[0]
        return claim

    def _take(self, frame: FrameType, stop: Stop) -> None:
        mine, nap = _Claim(frame), 0.0005
        while True:
            holder = self._holder()
            if holder.is_over():
                # Of all callers that see it is over, only one follows: `setdefault` is atomic.
                if holder.next.setdefault(0, mine) is mine:
                    self._last = mine
                    return
            elif holder.thread == mine.thread:
                return
            elif stop():
                raise Cancelled("stopped while another call was at work")
            else:
                time.sleep(nap)
                nap = min(2 * nap, LONGEST_NAP)

    def _give_back(self, frame: FrameType) -> None:
        holder = self._holder()
        if holder.thread == threading.get_ident() and holder.is_of(frame):
            holder.end()


class _Waited:
    """A turn whose wait can be stopped."""

    def __init__(self, turn: Turn, stop: Stop) -> None:
        self._turn, self._stop = turn, stop

    def __enter__(self) -> None:
        self._turn._take(sys._getframe(1), self._stop)

    def __exit__(self, *why: object) -> None:
        self._turn._give_back(sys._getframe(1))
