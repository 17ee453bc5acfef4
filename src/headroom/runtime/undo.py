"""What has to be undone whatever ends some work, a Ctrl-C at any instruction included."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def undone(work: Callable[[], R], undo: Callable[[], None]) -> R:
    """What the work returns; `undo` is called whatever ends it.

    `undo` has to be harmless where nothing was done yet and where it was called before: it is
    called twice, so that it is complete even where the first call was interrupted.
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
    """A block whose errors leave without their frames; where they were raised is told as a note.

    Whoever keeps an error (a notebook keeps the last one) keeps its frames, their variables and
    their closures, and with them tensors on the device. Errors that were there before the block are
    left alone.
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
    traceback.clear_frames(frames)  # what a cycle would keep till it is collected
    error.__traceback__ = None
