"""The interface `Device`, which every kind of device implements, with its streams and events."""

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
        """Mark the end of all work submitted to `stream` so far."""

    def wait(self, stream: Stream) -> None:
        """Make `stream` wait for the mark; the host continues."""

    def synchronize(self) -> None:
        """Make the host wait for the mark."""


class Stream(Protocol):
    """A queue of work on a device."""

    def use(self) -> AbstractContextManager[None]:
        """A block whose work goes into this queue."""

    def synchronize(self) -> None:
        """Make the host wait for all work of this stream."""


class Graph(Protocol):
    """Recorded work that can be replayed without the host launching each kernel."""

    def replay(self) -> None:
        """Run the work again, on the tensors with which it was recorded."""


class Device(Protocol):
    """One device. Byte counts are those of this process unless stated otherwise."""

    @property
    def kind(self) -> Kind:
        """The kind of device."""

    @property
    def name(self) -> str:
        """The name given by its manufacturer."""

    @property
    def identity(self) -> str | None:
        """Names the same card in all processes; None: no other process can use it."""

    @property
    def torch(self) -> torch.device:
        """The corresponding torch device."""

    def features(self) -> frozenset[str]:
        """What is fast on it: bfloat16, float16, fp8, flash; a CPU's vector extensions."""

    def inside(self) -> AbstractContextManager[object]:
        """A context for working with the device: creating tensors on it and moving tensors to it.

        It may be exited more than once, and before it was entered.
        """

    def synchronize(self) -> None:
        """Make the host wait for all work on the device."""

    def total_memory(self) -> int:
        """Bytes of its memory."""

    def free_memory(self) -> int:
        """Unused bytes; memory that torch holds in reserve for this process counts as free."""

    def memory_allocated(self) -> int:
        """Bytes of live tensors (of the whole process if the host computes)."""

    def memory_reserved(self) -> int:
        """Bytes held for live tensors or in reserve for later ones."""

    def max_memory_allocated(self) -> int:
        """The largest `memory_allocated` since `reset_peak`."""

    def reset_peak(self) -> None:
        """Start a new measurement of the peak."""

    def release(self) -> None:
        """Return reserved memory that no tensor uses to the system."""

    def set_cap(self, limit: int | None) -> None:
        """Refuse allocations beyond `limit` bytes, if the device can; None removes the limit."""

    @property
    def cap(self) -> int | None:
        """The limit in force."""

    def stream(self) -> Stream:
        """A new stream, or the only one if the device has just one."""

    def current_stream(self) -> Stream:
        """The stream that currently receives work."""

    def event(self) -> Event:
        """A new event, to record in a stream."""

    def pin(self, tensor: Tensor) -> Tensor:
        """The tensor in page-locked host memory, which copies fastest; itself if there is none."""

    def buffer(self, size: int) -> Tensor | None:
        """A tensor of exactly `size` bytes of page-locked host memory; None if that is not
        available or has no benefit."""

    def rounded(self, size: int) -> int:
        """How much `memory_allocated` grows for a tensor of `size` bytes."""

    def attention(self, dtype: str) -> str:
        """The kernel used for attention without a mask, in a type such as bfloat16."""

    def can_capture(self) -> bool:
        """Whether `capture` records a graph; if not, replaying calls the work again."""

    def capture(self, work: Callable[[], None]) -> Graph:
        """Record `work`, which must only use fixed tensors and never wait for a value."""
