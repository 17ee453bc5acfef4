"""Finds the Python functions and torch operators that take the most time.

Both tracers slow down the code they observe, so timings come from a separate run.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headroom.device import Device
from headroom.profiler.report import title

TOP = 20
SECONDS = 30.0  # maximum length of the song that operators are traced in


@dataclass(frozen=True, slots=True)
class Row:
    """A function or an operator. Seconds: its own, and including all it calls; `device`: its own
    on the accelerator, if there is one."""

    name: str
    calls: int
    own: float
    total: float
    device: float = 0.0


def functions(work: Callable[[], object]) -> tuple[Row, ...]:
    """Python functions by their own time, the longest first."""
    watch = cProfile.Profile()
    watch.runcall(work)
    return tuple(sorted(_rows(pstats.Stats(watch)), key=lambda row: -row.own)[:TOP])


def operators(work: Callable[[], object], device: Device) -> tuple[Row, ...]:
    """Torch operators by their own time on the computing device, the longest first."""
    from torch.profiler import ProfilerActivity, profile

    activities = {ProfilerActivity.CPU}
    accelerator = {"cuda": ProfilerActivity.CUDA, "xpu": ProfilerActivity.XPU}.get(device.kind)
    with profile(
        activities=activities if accelerator is None else activities | {accelerator}
    ) as watch:
        work()
    rows = [
        Row(
            event.key,
            event.count,
            event.self_cpu_time_total / 1e6,
            event.cpu_time_total / 1e6,
            event.self_device_time_total / 1e6,
        )
        for event in watch.key_averages()
    ]
    rows.sort(key=lambda row: -(row.own if accelerator is None else row.device))
    return tuple(rows[:TOP])


def table(heading: str, rows: Sequence[Row]) -> str:
    """The rows as a table for people."""
    device = any(row.device for row in rows)
    columns = f"  {'Calls':>9}  {'Own (s)':>9}  {'Total (s)':>9}  "
    lines = [title(heading), columns + (f"{'Device (s)':>10}  " if device else "") + "Name"]
    for row in rows:
        device_column = f"{row.device:>10.4f}  " if device else ""
        line = f"  {row.calls:>9}  {row.own:>9.4f}  {row.total:>9.4f}  {device_column}{row.name}"
        lines.append(line)
    return "\n".join(lines)


def _rows(stats: pstats.Stats) -> Iterator[Row]:
    for (file, line, name), (_, calls, own, total, _) in stats.stats.items():  # type: ignore[attr-defined]
        where = name if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{line} {name}"
        yield Row(where, calls, own, total)
