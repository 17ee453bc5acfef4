"""A simulated card for tests and plans: exact memory accounting, an enforced cap, modelled speed.

It is the second implementation of `Device`. With real tensors, small models run on it and give the
same bytes as on the host; with fake tensors (`fake=True`), the real sizes run without weights. An
allocation beyond the cap raises `torch.OutOfMemoryError`, as on a real card; `fail_at` makes one
allocation fail deliberately. Time is simulated: if rates are given, each queue has a clock, and the
log records when each kernel and each copy began and ended.

The accounting takes no lock: each update is a single operation of the interpreter, and anything
that an exception at a bad moment left out is corrected the next time the live bytes are queried.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from headroom.device.base import Event, Kind, Stream
from headroom.device.plain import Plain
from headroom.device.simulated_tensor import Inside, torch_device


@dataclass(frozen=True, slots=True)
class LoggedWork:
    """A kernel or a copy on a queue, with its start and end in simulated seconds."""

    queue: str
    what: str
    start: float
    end: float
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class SimulatedRates:
    """Speed of a simulated card: operations per second, bytes per second of memory and link."""

    matrix: float
    memory: float
    link: float


class SimulatedQueue:
    """A stream of a simulated device; its clock tells when all its work will be done."""

    def __init__(self, device: SimulatedDevice, name: str) -> None:
        self.name, self.now = name, 0.0
        self._device = device

    def use(self) -> AbstractContextManager[None]:
        """A context whose work goes into this queue."""
        return _Using(self._device, self)

    def synchronize(self) -> None:
        """Nothing is pending."""


class Mark:
    """An event: the time of a queue when it was recorded."""

    def __init__(self) -> None:
        self.time = 0.0

    def record(self, stream: Stream) -> None:
        """Store the current time of the queue."""
        self.time = _queue(stream).now

    def wait(self, stream: Stream) -> None:
        """Advance the queue's clock to the recorded time, if it is behind."""
        queue = _queue(stream)
        queue.now = max(queue.now, self.time)

    def synchronize(self) -> None:
        """Nothing is pending."""


class SimulatedDevice(Plain):
    """A simulated card; see the docstring of the module.

    total          bytes of the card
    fake           whether tensors have shapes but no values
    fragmentation  lost bytes as a fraction of the live bytes; they count against the cap
    rates          speeds for its clocks; None: work takes no time
    """

    kind: Kind = "simulated"

    def __init__(
        self,
        total: int,
        *,
        fake: bool = False,
        fragmentation: float = 0.0,
        rates: SimulatedRates | None = None,
    ) -> None:
        self.torch = torch_device()
        self.name = "a simulated card"
        self.fake, self.fragmentation, self.rates = fake, fragmentation, rates
        self.log: list[LoggedWork] = []
        self.allocations = 0
        self.fail_at: int | None = None
        self.trace: list[int] | None = None  # live bytes after each allocation, if set
        self.bytes_to_device = self.bytes_to_host = 0
        self._total, self._allocated, self._peak = total, 0, 0
        self._live: dict[int, tuple[int, weakref.ref[torch.UntypedStorage]]] = {}
        self._main = SimulatedQueue(self, "main")
        self._local = threading.local()
        self._queues = 0

    # --- accounting --------------------------------------------------------------------

    def allocate(self, storage: torch.UntypedStorage) -> None:
        """Count a storage once, until it is freed."""
        key, size = storage._cdata, storage.nbytes()
        entry = self._live.get(key)
        if size == 0 or (entry is not None and entry[1]() is not None):
            return
        self.allocations += 1
        if self.fail_at is not None and self.allocations == self.fail_at:
            self._refuse(size, "as it was told to")
        if self._allocated + size > self._room():
            self._refuse(size, f"{self._allocated} of {self._room()} bytes are in use")
        self._live[key] = size, weakref.ref(storage, partial(self._died, key))
        self._allocated += size
        self._peak = max(self._peak, self._allocated)
        if self.trace is not None:
            self.trace.append(self._allocated)

    def _died(self, key: int, storage: weakref.ref[torch.UntypedStorage]) -> None:
        entry = self._live.pop(key, None)
        if entry is not None:
            self._allocated -= entry[0]

    def _count(self) -> int:
        """Recount the live bytes."""
        live = list(self._live.items())
        for key, (_, storage) in live:
            if storage() is None:
                self._live.pop(key, None)
        self._allocated = sum(size for size, _ in list(self._live.values()))
        return self._allocated

    def _room(self) -> int:
        limit = self._total if self.cap is None else min(self.cap, self._total)
        return int(limit / (1 + self.fragmentation))

    def _refuse(self, size: int, why: str) -> None:
        raise torch.OutOfMemoryError(f"simulated: {size} bytes more cannot be had: {why}")

    def moved(self, tensor: Tensor, to_device: bool) -> None:
        """Count the bytes of a copy, and advance the clock of the current queue."""
        size = tensor.numel() * tensor.element_size()
        if to_device:
            self.bytes_to_device += size
        else:
            self.bytes_to_host += size
        if self.rates is not None:
            self._spend("to device" if to_device else "to host", size / self.rates.link, size)

    def worked(self, function: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Advance the clock of the current queue by the time of a kernel, the longer of its
        operations and its memory traffic. A view of a tensor takes none."""
        if self.rates is None or not outputs or function.is_view:
            return
        name = function.overloadpacket.__name__
        touched = sum(x.numel() * x.element_size() for x in (*inputs, *outputs))
        took = max(
            operations(name, inputs, outputs) / self.rates.matrix, touched / self.rates.memory
        )
        self._spend(name, took, touched)

    def _spend(self, operation: str, seconds: float, size: int) -> None:
        queue = self._current()
        self.log.append(LoggedWork(queue.name, operation, queue.now, queue.now + seconds, size))
        queue.now += seconds

    # --- the interface of Device --------------------------------------------------------

    def features(self) -> frozenset[str]:
        """The features of a common card."""
        return frozenset({"bfloat16", "float16", "flash"})

    def inside(self) -> AbstractContextManager[object]:
        """A context in which tensors can be created on the device and moved to it."""
        before = self._current()
        return Inside(self, partial(setattr, self._local, "queue", before))

    def synchronize(self) -> None:
        """Nothing is pending: work runs when it is submitted, and the clocks only record time."""

    def total_memory(self) -> int:
        """Bytes of the card."""
        return self._total

    def free_memory(self) -> int:
        """Bytes not in use."""
        return max(0, self._room() - self.memory_allocated())

    def memory_allocated(self) -> int:
        """Bytes of live storages."""
        return self._count()

    def memory_reserved(self) -> int:
        """Live bytes plus those lost to fragmentation."""
        return int(self._count() * (1 + self.fragmentation))

    def max_memory_allocated(self) -> int:
        """The most live bytes since `reset_peak`."""
        return self._peak

    def reset_peak(self) -> None:
        """Start a new measurement of the peak."""
        self._peak = self._count()

    def release(self) -> None:
        """Nothing is kept in reserve."""

    def set_cap(self, limit: int | None) -> None:
        """Refuse allocations beyond `limit` bytes; None removes the limit."""
        self.cap = limit

    def stream(self) -> Stream:
        """A new queue with its own clock."""
        self._queues += 1
        return SimulatedQueue(self, f"queue {self._queues}")

    def current_stream(self) -> Stream:
        """The current queue."""
        return self._current()

    def event(self) -> Event:
        """A new event."""
        return Mark()

    def _current(self) -> SimulatedQueue:
        queue: SimulatedQueue = getattr(self._local, "queue", self._main)
        return queue


class _Using:
    """A context whose work goes into a queue."""

    def __init__(self, device: SimulatedDevice, queue: SimulatedQueue) -> None:
        self._local, self._queue, self._before = device._local, queue, device._current()

    def __enter__(self) -> None:
        self._local.queue = self._queue

    def __exit__(self, *why: object) -> None:
        self._local.queue = self._before


def _queue(stream: Stream) -> SimulatedQueue:
    if not isinstance(stream, SimulatedQueue):
        raise TypeError(f"a simulated event on a {type(stream).__name__}")
    return stream


def operations(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    """Floating-point operations of a matrix product, attention or convolution; 0 for the rest."""
    if name in ("mm", "addmm", "bmm", "baddbmm", "addmm_", "baddbmm_"):
        return 2.0 * outputs[0].numel() * inputs[-2].shape[-1]
    if name == "attend":
        return 4.0 * outputs[0].numel() * inputs[1].shape[-2]
    if name == "convolution":
        x, weight = inputs[0], inputs[1]
        if outputs[0].shape[-1] > x.shape[-1]:  # transposed: each input uses every tap
            return 2.0 * x.numel() * prod(weight.shape[1:])
        return 2.0 * outputs[0].numel() * prod(weight.shape[1:])
    return 0.0
