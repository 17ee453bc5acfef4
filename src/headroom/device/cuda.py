"""CUDA devices, and ROCm under the same names: streams, events, pinned memory, graphs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from headroom.device.base import Event, Graph, Kind, Stream
from headroom.units import MIB

BLOCK = 512  # bytes; torch's allocator rounds up to multiples of it
SPILLING = 64 * MIB  # free memory below which a driver may start to spill
WARM_UP = 3  # calls before a capture, so that libraries can choose their kernels


class CudaStream:
    """A CUDA stream."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.raw = stream

    def use(self) -> AbstractContextManager[None]:
        """A context whose kernels go into this stream."""
        return _inside(self.raw)

    def synchronize(self) -> None:
        """Make the host wait for all work of this stream."""
        self.raw.synchronize()


class CudaEvent:
    """A CUDA event without timing, the cheapest kind."""

    def __init__(self) -> None:
        self.raw = torch.cuda.Event()

    def record(self, stream: Stream) -> None:
        """Mark the end of the work submitted to `stream`."""
        self.raw.record(_raw(stream))

    def wait(self, stream: Stream) -> None:
        """Make `stream` wait; the host continues."""
        _raw(stream).wait_event(self.raw)

    def synchronize(self) -> None:
        """Make the host wait."""
        self.raw.synchronize()


class CudaDevice:
    """One card. `memory_allocated` counts the bytes allocated by torch's allocator.

    spills  whether the driver moves what does not fit to host memory, where access is extremely
            slow; allocations beyond the free memory are then refused
    """

    kind: Kind = "cuda"

    def __init__(self, index: int = 0, spills: bool = False) -> None:
        self.torch = torch.device("cuda", index)
        self.name = torch.cuda.get_device_name(index)
        properties = torch.cuda.get_device_properties(index)
        self.identity: str | None = f"cuda {getattr(properties, 'uuid', index)}"
        self.cap: int | None = None
        self._spills = spills
        if spills:
            self.set_cap(None)

    def features(self) -> frozenset[str]:
        """By compute capability: bfloat16 and flash attention from 8.0, fp8 from 8.9."""
        if torch.version.hip is not None:
            return frozenset({"float16", "bfloat16", "flash"})
        capability = torch.cuda.get_device_capability(self.torch)
        features = {"float16"}
        if capability >= (8, 0):
            features |= {"bfloat16", "flash"}
        if capability >= (8, 9):
            features |= {"fp8"}
        return frozenset(features)

    def synchronize(self) -> None:
        """Wait for every stream of the card."""
        torch.cuda.synchronize(self.torch)

    def total_memory(self) -> int:
        """Bytes of the card."""
        return int(torch.cuda.get_device_properties(self.torch).total_memory)

    def free_memory(self) -> int:
        """Bytes that the driver reports as free, plus unused bytes in torch's reserve."""
        free, _ = torch.cuda.mem_get_info(self.torch)
        return int(free) + self.memory_reserved() - self.memory_allocated()

    def memory_allocated(self) -> int:
        """Bytes of live tensors."""
        return int(torch.cuda.memory_allocated(self.torch))

    def memory_reserved(self) -> int:
        """Bytes of the card that torch has reserved."""
        return int(torch.cuda.memory_reserved(self.torch))

    def max_memory_allocated(self) -> int:
        """The most bytes of live tensors since `reset_peak`."""
        return int(torch.cuda.max_memory_allocated(self.torch))

    def reset_peak(self) -> None:
        """Start a new measurement of the peak."""
        torch.cuda.reset_peak_memory_stats(self.torch)

    def release(self) -> None:
        """Return reserved memory that no tensor uses to the driver."""
        torch.cuda.empty_cache()

    def set_cap(self, limit: int | None) -> None:
        """Make torch's allocator refuse allocations that would exceed `limit` bytes or spill."""
        total = self.total_memory()
        most = total if limit is None else min(total, limit)
        if self._spills:
            most = min(most, self.free_memory() + self.memory_allocated() - SPILLING)
        torch.cuda.set_per_process_memory_fraction(max(0, most) / total, self.torch)
        self.cap = limit

    def stream(self) -> Stream:
        """A new stream."""
        return CudaStream(torch.cuda.Stream(self.torch))

    def current_stream(self) -> Stream:
        """The stream in use."""
        return CudaStream(torch.cuda.current_stream(self.torch))

    def event(self) -> Event:
        """A new event."""
        return CudaEvent()

    def pin(self, tensor: Tensor) -> Tensor:
        """A copy in page-locked memory, which the card reads by DMA."""
        return tensor if tensor.is_pinned() else tensor.pin_memory()

    def inside(self) -> AbstractContextManager[object]:
        """A context in which CUDA tensors created without an index are on this card."""
        return _OnCard(self.torch)

    def buffer(self, size: int) -> Tensor | None:
        """Plain memory registered with the driver: torch rounds pinned memory to powers of two."""
        whole = torch.empty(size, dtype=torch.uint8)
        runtime = torch.cuda.cudart()
        if int(runtime.cudaHostRegister(whole.data_ptr(), size, 0)) != 0:
            return None
        weakref.finalize(whole.untyped_storage(), runtime.cudaHostUnregister, whole.data_ptr())
        return whole

    def rounded(self, size: int) -> int:
        """Whole blocks of 512 bytes."""
        return -(-size // BLOCK) * BLOCK

    def attention(self, dtype: str) -> str:
        """The kernel that torch chooses for heads of size 128."""
        shape = 1, 1, 128, 128
        with torch.cuda.device(self.torch):
            x = torch.empty(shape, dtype=getattr(torch, dtype), device=self.torch)
        backends = torch.backends.cuda
        parameters = backends.SDPAParams(x, x, x, None, 0.0, False, False)
        if backends.can_use_flash_attention(parameters):
            return "flash attention"
        if backends.can_use_efficient_attention(parameters):
            return "memory-efficient attention"
        return "plain attention, which writes out its scores"

    def can_capture(self) -> bool:
        """CUDA records graphs."""
        return True

    def capture(self, work: Callable[[], None]) -> Graph:
        """Warm up on a side stream, then record `work` once."""
        with torch.cuda.device(self.torch):
            side = torch.cuda.Stream(self.torch)
            side.wait_stream(torch.cuda.current_stream(self.torch))
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    work()
            torch.cuda.current_stream(self.torch).wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                work()
        return graph


def _raw(stream: Stream) -> torch.cuda.Stream:
    if not isinstance(stream, CudaStream):
        raise TypeError(f"a CUDA event on a {type(stream).__name__}")
    return stream.raw


class _OnCard:
    """A context on a card. Exiting, which may be repeated, restores the current device and stream
    as they were when the context was created."""

    def __init__(self, card: torch.device) -> None:
        self._card, self._before = card, torch.cuda.current_device()
        self._stream = torch.cuda.current_stream(card)

    def __enter__(self) -> None:
        torch.cuda.set_device(self._card)

    def __exit__(self, *why: object) -> None:
        torch.cuda.set_stream(self._stream)
        torch.cuda.set_device(self._before)


@contextmanager
def _inside(stream: torch.cuda.Stream) -> Iterator[None]:
    with torch.cuda.stream(stream):
        yield
