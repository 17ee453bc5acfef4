"""Guarantee cleanup however some work ends, a Ctrl-C at any instruction included."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def undone(work: Callable[[], R], undo: Callable[[], None]) -> R:
    """What the work returns; `undo` is called however the work ends.

    `undo` must be harmless if nothing was done yet and if it was called before: it is called
    twice, so that it completes even if the first call was interrupted.
    """
    try:
        try:
            return work()
        finally:
            undo()
    finally:
        undo()


RAISED = "Raised, the outermost call first, in:\n"


class Dropping:
    """A block whose errors leave without their frames; a note says where they were raised.

    Code that keeps an error (a notebook keeps the last one) keeps its frames, their variables and
    their closures, and with them tensors on the device. Errors from before the block are left
    unchanged.
    """

    def __init__(self) -> None:
        self._before = sys.exc_info()[1]

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        seen: set[int] = set()
        left = [error]
        while left:
            one = left.pop()
            if one is None or one is self._before or id(one) in seen:
                continue
            seen.add(id(one))
            left += [one.__context__, one.__cause__]
            _drop(one)


def _drop(error: BaseException) -> None:
    frames = error.__traceback__
    if frames is None:
        return
    notes = getattr(error, "__notes__", [])
    inner = notes.pop().removeprefix(RAISED) if notes and notes[-1].startswith(RAISED) else ""
    error.add_note(RAISED + "".join(traceback.format_tb(frames)) + inner)
    traceback.clear_frames(frames)  # which a cycle would keep alive until it is collected
    error.__traceback__ = None
