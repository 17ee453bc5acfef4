"""The host as a device: one stream, memory measured as the process's resident set."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psutil
import torch

from headroom.device.base import Kind
from headroom.device.plain import OneQueue
from headroom.processor import cpu_name

SAMPLE_SECONDS = 0.02
ISA = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
FAST_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})


class HostDevice(OneQueue):
    """The CPU. Its peak is that of the process's resident set, sampled from `reset_peak` on."""

    kind: Kind = "cpu"

    def __init__(self) -> None:
        self.name = cpu_name()
        self.torch = torch.device("cpu")
        self._process = psutil.Process()
        self._peak = Peak(self.memory_allocated)

    def features(self) -> frozenset[str]:
        """Vector extensions, and bfloat16 if one of them supports bfloat16 matrix products."""
        return cpu_features()

    def synchronize(self) -> None:
        """Nothing to wait for: the host works synchronously."""

    def total_memory(self) -> int:
        """Bytes of host memory."""
        return int(psutil.virtual_memory().total)

    def free_memory(self) -> int:
        """Bytes available without swapping."""
        return int(psutil.virtual_memory().available)

    def memory_allocated(self) -> int:
        """The resident set of the process, in bytes."""
        return int(self._process.memory_info().rss)

    def memory_reserved(self) -> int:
        """The same as `memory_allocated`: the host keeps no reserve."""
        return self.memory_allocated()

    def max_memory_allocated(self) -> int:
        """The largest resident set since `reset_peak`, sampled every 20 ms."""
        return self._peak.stop()

    def reset_peak(self) -> None:
        """Start sampling."""
        self._peak.start()

    def release(self) -> None:
        """Nothing to do: freed memory is not held in reserve."""

    def set_cap(self, limit: int | None) -> None:
        """Store the limit for plans; the host's allocator does not enforce it."""
        self.cap = limit


class Peak:
    """The largest value of `read` between `start` and `stop`, sampled by a separate thread."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._largest = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start a new measurement."""
        self._end()
        self._largest = self._read()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, args=(self._ended,), daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Stop sampling and return the largest value."""
        self._end()
        self._largest = max(self._largest, self._read())
        return self._largest

    def _end(self) -> None:
        self._ended.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()
        self._thread = None

    def _sample(self, ended: threading.Event) -> None:
        while not ended.wait(SAMPLE_SECONDS):
            self._largest = max(self._largest, self._read())


def cpu_features() -> frozenset[str]:
    """The vector extensions that determine which types are fast, under torch's names for them.

    With plain AVX512, a bfloat16 matrix product was measured at a quarter of the speed of float32,
    so bfloat16 counts as fast only with AMX or AVX512-BF16.
    """
    ask = getattr(torch.cpu, "get_capabilities", None)  # not in every version of torch
    names = {name for name, supported in ask().items() if supported is True} if ask else set()
    isa = frozenset(names & set(ISA))
    return isa | {"bfloat16"} if isa & FAST_BFLOAT16 else isa
