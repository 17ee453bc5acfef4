"""What devices share that have one queue, or no page-locked memory, or record no graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor

from headroom.device.base import Event, Graph, Stream


class Inline:
    """Stream, event and graph of a device that does everything at once and in order."""

    def use(self) -> AbstractContextManager[None]:
        """The block as it is."""
        return nullcontext()

    def record(self, stream: Stream) -> None:
        """Nothing is pending."""

    def wait(self, stream: Stream) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""


class Again:
    """A graph where none can be recorded: the work itself."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work

    def replay(self) -> None:
        """Do the work."""
        self._work()


class Plain:
    """Nothing is page-locked, nothing is recorded, bytes are counted as they are."""

    cap: int | None = None

    def pin(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def buffer(self, size: int) -> Tensor | None:
        """Nothing is page-locked here."""
        return None

    def rounded(self, size: int) -> int:
        """As it is."""
        return size

    def attention(self, dtype: str) -> str:
        """What torch has for the device; it has one."""
        return "torch's scaled dot product"

    def can_capture(self) -> bool:
        """Nothing is recorded."""
        return False

    def capture(self, work: Callable[[], None]) -> Graph:
        """The work itself, to be called again."""
        return Again(work)


class OneQueue(Plain):
    """All work goes into one queue, in order."""

    def inside(self) -> AbstractContextManager[object]:
        """Nothing needs to be said."""
        return nullcontext()

    def stream(self) -> Stream:
        """The one queue."""
        return Inline()

    def current_stream(self) -> Stream:
        """The one queue."""
        return Inline()

    def event(self) -> Event:
        """A mark in the one queue."""
        return Inline()
