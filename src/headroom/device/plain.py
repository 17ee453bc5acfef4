"""Base classes for devices with a single stream, without page-locked memory, without graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor

from headroom.device.base import Event, Graph, Stream


class Inline:
    """Stream and event of a device that runs everything in order, in a single queue."""

    def use(self) -> AbstractContextManager[None]:
        """A context that changes nothing."""
        return nullcontext()

    def record(self, stream: Stream) -> None:
        """Nothing to record: there is only one queue."""

    def wait(self, stream: Stream) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""


class Again:
    """The graph of a device that cannot record one: it calls the work again."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work

    def replay(self) -> None:
        """Call the work."""
        self._work()


class Plain:
    """A device without page-locked memory or graphs, whose allocations are not rounded."""

    cap: int | None = None
    identity: str | None = None

    def pin(self, tensor: Tensor) -> Tensor:
        """The tensor itself: nothing is page-locked."""
        return tensor

    def buffer(self, size: int) -> Tensor | None:
        """None: nothing is page-locked."""
        return None

    def rounded(self, size: int) -> int:
        """The size itself."""
        return size

    def attention(self, dtype: str) -> str:
        """Torch's only kernel for the device."""
        return "torch's scaled dot product"

    def can_capture(self) -> bool:
        """No graphs are recorded."""
        return False

    def capture(self, work: Callable[[], None]) -> Graph:
        """The work itself, which a replay calls again."""
        return Again(work)


class OneQueue(Plain):
    """A device with a single queue, which runs all work in order."""

    def inside(self) -> AbstractContextManager[object]:
        """A context that changes nothing."""
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
