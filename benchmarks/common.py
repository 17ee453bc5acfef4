"""What every benchmark here shares: the machine's ceilings, fair turns, one line of JSON.

Two competitors run in turn in one process, so that both see the same load of the machine, and the
median of their turns is compared. The ceilings are measured, not looked up: a matrix product of
the shape that matters, and a copy of memory.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import torch

Number = float | int


def card() -> dict[str, object]:
    """The machine, as far as figures depend on it."""
    return {
        "processor": platform.processor() or platform.machine(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def timed(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(
    competitors: Mapping[str, Callable[[], object]], repeats: int, warm: int = 1
) -> dict[str, list[float]]:
    """Seconds of every turn, a turn of each after the other; `warm` turns are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for turn in range(warm + repeats):
        for name, work in competitors.items():
            spent = timed(work)
            if turn >= warm:
                seconds[name].append(spent)
    return seconds


def median(seconds: list[float]) -> float:
    return statistics.median(seconds)


def matmul_rate(rows: int, inner: int, columns: int, dtype: torch.dtype, repeats: int = 7) -> float:
    """Operations a second of x [rows, inner] · wᵀ, w [columns, inner]: the best of `repeats`."""
    x = torch.randn(rows, inner).to(dtype)
    w = torch.randn(columns, inner).to(dtype)
    torch.nn.functional.linear(x, w)
    best = min(timed(lambda: torch.nn.functional.linear(x, w)) for _ in range(repeats))
    return 2 * rows * inner * columns / best


def copy_rate(size: int = 1 << 28, repeats: int = 5) -> float:
    """Bytes a second of a copy, read and written."""
    source = torch.zeros(size, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return 2 * size / min(timed(lambda: target.copy_(source)) for _ in range(repeats))


def extra_memory(work: Callable[[], object], every: float = 0.005) -> int:
    """Bytes the process's resident set grew by at most while `work` ran."""
    process = psutil.Process()
    before = peak = process.memory_info().rss
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(every):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        work()
    finally:
        stop.set()
        watcher.join()
    return max(peak, process.memory_info().rss) - before


def show(rows: Mapping[str, Number], unit: str = "s") -> None:
    """A row a figure, aligned."""
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value:10.3f} {unit}")


def finish(result: Mapping[str, object], out: Path | None) -> None:
    """The result as the last line of output, and in a file where one is named."""
    line = json.dumps(result, separators=(",", ":"))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(line)
