"""Apple's MPS and Intel's XPU devices: one stream each, no pinned memory, no graphs."""

from __future__ import annotations

import psutil
import torch

from headroom.device.base import Kind
from headroom.device.host import Peak
from headroom.device.plain import OneQueue
from headroom.processor import cpu_name


class MpsDevice(OneQueue):
    """Apple's GPU, which shares the host's memory. Its peak memory is sampled."""

    kind: Kind = "mps"

    def __init__(self) -> None:
        self.torch = torch.device("mps")
        self.identity = "mps"
        self.name = cpu_name()
        self._peak = Peak(self.memory_allocated)

    def features(self) -> frozenset[str]:
        """float16; bfloat16 is emulated on the older chips."""
        return frozenset({"float16"})

    def synchronize(self) -> None:
        """Wait for all command buffers."""
        torch.mps.synchronize()

    def total_memory(self) -> int:
        """The most bytes that Metal recommends to use."""
        return int(torch.mps.recommended_max_memory())

    def free_memory(self) -> int:
        """The recommended bytes minus those in use, at most what the host has available."""
        unused = self.total_memory() - self.memory_allocated()
        return max(0, min(unused, int(psutil.virtual_memory().available)))

    def memory_allocated(self) -> int:
        """Bytes of live tensors."""
        return int(torch.mps.current_allocated_memory())

    def memory_reserved(self) -> int:
        """Bytes that Metal has reserved for this process."""
        return int(torch.mps.driver_allocated_memory())

    def max_memory_allocated(self) -> int:
        """The largest value since `reset_peak`, sampled every 20 ms."""
        return self._peak.stop()

    def reset_peak(self) -> None:
        """Start sampling."""
        self._peak.start()

    def release(self) -> None:
        """Return reserved memory that is not in use."""
        torch.mps.empty_cache()

    def set_cap(self, limit: int | None) -> None:
        """Make torch's allocator refuse allocations that would exceed `limit` bytes."""
        share = 0.0 if limit is None else min(1.0, limit / self.total_memory())
        torch.mps.set_per_process_memory_fraction(share)
        self.cap = limit


class XpuDevice(OneQueue):
    """An Intel GPU."""

    kind: Kind = "xpu"

    def __init__(self, index: int = 0) -> None:
        self.torch = torch.device("xpu", index)
        self.name = torch.xpu.get_device_name(index)
        properties = torch.xpu.get_device_properties(index)
        self.identity = f"xpu {getattr(properties, 'uuid', index)}"

    def features(self) -> frozenset[str]:
        """float16, and bfloat16 if the driver reports support."""
        features = {"float16"}
        return frozenset(features | {"bfloat16"} if torch.xpu.is_bf16_supported() else features)

    def synchronize(self) -> None:
        """Wait for every stream of the device."""
        torch.xpu.synchronize(self.torch)

    def total_memory(self) -> int:
        """Bytes of the device."""
        return int(torch.xpu.get_device_properties(self.torch).total_memory)

    def free_memory(self) -> int:
        """Bytes that the driver reports as free, plus unused bytes in torch's reserve."""
        free, _ = torch.xpu.mem_get_info(self.torch)
        return int(free) + self.memory_reserved() - self.memory_allocated()

    def memory_allocated(self) -> int:
        """Bytes of live tensors."""
        return int(torch.xpu.memory_allocated(self.torch))

    def memory_reserved(self) -> int:
        """Bytes of the device that torch has reserved."""
        return int(torch.xpu.memory_reserved(self.torch))

    def max_memory_allocated(self) -> int:
        """The most bytes of live tensors since `reset_peak`."""
        return int(torch.xpu.max_memory_allocated(self.torch))

    def reset_peak(self) -> None:
        """Start a new measurement of the peak."""
        torch.xpu.reset_peak_memory_stats(self.torch)

    def release(self) -> None:
        """Return reserved memory that no tensor uses to the driver."""
        torch.xpu.empty_cache()

    def set_cap(self, limit: int | None) -> None:
        """Store the limit for plans."""
        self.cap = limit
