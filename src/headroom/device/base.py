"""What the program asks of a device, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import torch
from torch import Tensor

Kind = Literal["cuda", "mps", "xpu", "cpu", "simulated"]


class Event(Protocol):
    """A point in a stream's work."""

    def record(self, stream: Stream) -> None:
        """Mark the end of all that was given to `stream` up to now."""

    def wait(self, stream: Stream) -> None:
        """Make `stream` wait for the mark; the host goes on."""

    def synchronize(self) -> None:
        """Make the host wait for the mark."""


class Stream(Protocol):
    """A queue of work on a device."""

    def use(self) -> AbstractContextManager[None]:
        """A block whose work goes into this queue."""

    def synchronize(self) -> None:
        """Make the host wait for all of its work."""


class Graph(Protocol):
    """Work that was recorded once and can be repeated without the host issuing each kernel."""

    def replay(self) -> None:
        """Do it again, on the tensors it was recorded with."""


class Device(Protocol):
    """One device. Bytes are those of this process unless said otherwise."""

    @property
    def kind(self) -> Kind:
        """Its kind."""

    @property
    def name(self) -> str:
        """As its maker names it."""

    @property
    def torch(self) -> torch.device:
        """As torch names it."""

    def features(self) -> frozenset[str]:
        """What it computes well: bfloat16, float16, fp8, flash; a CPU's vector extensions."""

    def inside(self) -> AbstractContextManager[object]:
        """A block that works with the device: makes tensors on it, brings tensors to it.

        Leaving it may be done again, and before it was entered.
        """

    def synchronize(self) -> None:
        """Make the host wait for all work of the device."""

    def total_memory(self) -> int:
        """Bytes of its memory."""

    def free_memory(self) -> int:
        """Bytes nobody uses, counting what torch holds in reserve for this process as free."""

    def memory_allocated(self) -> int:
        """Bytes of live tensors (of the whole process, where the host computes)."""

    def memory_reserved(self) -> int:
        """Bytes held, live or kept for later tensors."""

    def max_memory_allocated(self) -> int:
        """The largest `memory_allocated` since `reset_peak`."""

    def reset_peak(self) -> None:
        """Begin a new measurement of the peak."""

    def release(self) -> None:
        """Give reserved memory that no tensor uses back to the system."""

    def set_cap(self, limit: int | None) -> None:
        """Refuse allocations beyond `limit` bytes, where the device can; None lifts it."""

    @property
    def cap(self) -> int | None:
        """The limit in force."""

    def stream(self) -> Stream:
        """A queue of its own; the only one, where there is no other."""

    def current_stream(self) -> Stream:
        """The queue that work goes into now."""

    def event(self) -> Event:
        """A mark to set in a queue."""

    def pin(self, tensor: Tensor) -> Tensor:
        """The tensor in host memory the device copies from fastest; itself where that is none."""

    def buffer(self, size: int) -> Tensor | None:
        """Bytes [size] of page-locked host memory, exactly as many; None where that cannot be had
        or brings nothing."""

    def rounded(self, size: int) -> int:
        """What `memory_allocated` grows by for a tensor of so many bytes."""

    def attention(self, dtype: str) -> str:
        """The kernel that attention without a mask runs in, in a type such as bfloat16."""

    def can_capture(self) -> bool:
        """Whether `capture` records; where not, replaying does the work again by calling it."""

    def capture(self, work: Callable[[], None]) -> Graph:
        """Record `work`, which must use fixed tensors only and ask the host nothing."""
