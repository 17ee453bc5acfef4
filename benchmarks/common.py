"""What every benchmark here shares: ceilings, alternating runs, memory, the machine, one line.

A benchmark runs ours and the peer in turn in one process, so that a machine that slows down slows
both; it prints medians beside measured ceilings, and ends in one line of JSON.
"""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import psutil
import torch

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Card:
    """The machine a number was measured on."""

    processor: str
    cores: int
    threads: int
    memory_gib: float
    system: str
    python: str
    torch: str
    accelerator: str | None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the machine does at best: a large matrix product, and a copy (read + written)."""

    dtype: str
    matrix_gflops: float
    copy_gb_s: float


def card() -> Card:
    """This machine, without its name."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return Card(
        processor=_processor(),
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=str(torch.__version__),
        accelerator=accelerator,
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def synchronise(device: torch.device) -> None:
    """Wait for the accelerator; nothing to wait for on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Wall time of one call, its queue drained before and after."""
    device = torch.device(device)
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def ceiling(
    dtype: torch.dtype, device: torch.device | str = "cpu", size: int = 2048, rounds: int = 7
) -> Ceiling:
    """Measured: the best of `rounds` products [size, size]² and copies of 256 MiB."""
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    source = torch.zeros(256 << 20, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    product = min(seconds(lambda: a @ b, device) for _ in range(rounds))
    copy = min(seconds(lambda: target.copy_(source), device) for _ in range(rounds))
    return Ceiling(
        dtype=str(dtype).removeprefix("torch."),
        matrix_gflops=round(2 * size**3 / product / 1e9, 1),
        copy_gb_s=round(2 * source.nbytes / copy / 1e9, 2),
    )


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one case over all rounds."""

    median: float
    least: float
    most: float
    runs: int


def alternate(
    cases: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device | str = "cpu",
    tell: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> dict[str, Timing]:
    """Every case once a round, in turn; the caller has warmed them up."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for index in range(rounds):
        for name, work in cases.items():
            taken[name].append(seconds(work, device))
            tell(f"round {index + 1}/{rounds}  {name}: {taken[name][-1]:.3f} s")
    return {
        name: Timing(statistics.median(runs), min(runs), max(runs), len(runs))
        for name, runs in taken.items()
    }


class PeakMemory:
    """Peak of the resident set inside a `with`, beside what it was before: `extra` in bytes.

    Freed memory that the allocator keeps would be used again and hide what is needed, so measure
    in a process of its own (`in_subprocess`) that has done nothing large before.
    """

    def __init__(self, every: float = 0.002) -> None:
        self.every, self.before, self.peak = every, 0, 0

    @property
    def extra(self) -> int:
        return self.peak - self.before

    def __enter__(self) -> PeakMemory:
        gc.collect()
        self._process, self._stop = psutil.Process(), threading.Event()
        self.before = self.peak = self._process.memory_info().rss
        self._watch = threading.Thread(target=self._run, daemon=True)
        self._watch.start()
        return self

    def _run(self) -> None:
        while not self._stop.wait(self.every):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._watch.join()
        self.peak = max(self.peak, self._process.memory_info().rss)


def in_subprocess(script: str, arguments: Sequence[str]) -> dict[str, object]:
    """Run a benchmark file in a fresh process; its last line of standard output is JSON."""
    done = subprocess.run(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    value = json.loads(done.stdout.strip().splitlines()[-1])
    assert isinstance(value, dict)
    return value


def finish(name: str, result: Mapping[str, object], save: bool, date: str | None = None) -> None:
    """Print the one line, and keep it under benchmarks/results/<date>-<device>-<name>.json."""
    machine = card()
    whole = {"benchmark": name, "machine": asdict(machine), **result}
    if save:
        date = date or datetime.date.today().isoformat()
        device = "cpu" if machine.accelerator is None else "gpu"
        path = RESULTS / f"{date}-{device}-{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(whole, indent=2) + "\n", "utf-8")
    print(json.dumps(whole), flush=True)
