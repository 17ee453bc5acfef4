"""Run every section, write one JSON file, say what failed."""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from gpu_check.attention import attentions, step_kernels
from gpu_check.bench import Bench, Row
from gpu_check.card import card
from gpu_check.decode import decodes
from gpu_check.language import codes
from gpu_check.parity import parity, sampler
from gpu_check.sizes import real, small
from gpu_check.song import songs
from gpu_check.step import compiled_steps, steps
from headroom.device import open_device
from headroom.errors import HeadroomError

LIMIT = 8 * 60  # seconds a whole check may take, unless told otherwise
SECTIONS: dict[str, Callable[[Bench], list[Row]]] = {
    "card": card,
    "parity": parity,
    "sampler": sampler,
    "attention": attentions,
    "kernels": step_kernels,
    "step": steps,
    "decode": decodes,
    "codes": codes,
    "song": songs,
    "compiled step": compiled_steps,
}
LONG = ("compiled step",)  # left out of a dry run, unless asked for
NEEDS = 30  # seconds that must be left for a section to begin


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu_check",
        description="Check networks, times and memory on this machine's card; at most 8 minutes.",
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"), metavar="FILE")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps, xpu, cpu")
    parser.add_argument("--small", action="store_true", help="small sizes: a dry run")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="SECONDS", help="at most")
    parser.add_argument("--only", action="append", choices=tuple(SECTIONS), metavar="SECTION")
    chosen = parser.parse_args(arguments)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    began = time.monotonic()
    try:
        device = open_device(chosen.device)
    except HeadroomError as error:
        print(error)
        return error.exit_code
    sizes = small() if chosen.small else real()
    if device.kind == "cpu" and not chosen.small:
        print("there is no card here: `--small` makes a dry run on the host")
        return 2
    bench = Bench(device, sizes, began + chosen.limit)
    usual = tuple(name for name in SECTIONS if not (chosen.small and name in LONG))
    wanted = ["card", *(name for name in SECTIONS if name in (chosen.only or usual))]
    report: dict[str, object] = {"sizes": sizes.name, "type": str(bench.fast), "sections": {}}
    found: dict[str, object] = {}
    for name in dict.fromkeys(wanted):
        found[name] = section(bench, name)
        report = {**report, "sections": found, "took_seconds": time.monotonic() - began}
        report["failed"] = faults(found)
        save(chosen.out, report)  # after each: what was measured survives what comes next
    failed = faults(found)
    for fault in failed:
        print(f"FAILED {fault}")
    print(f"{len(failed)} failures; {chosen.out}")
    return 1 if failed else 0


def section(bench: Bench, name: str) -> dict[str, object]:
    """One section's rows, or what torch or the program said instead."""
    began = time.monotonic()
    if bench.left() < NEEDS and name != "card":
        return {"skipped": f"{bench.left():.0f} s were left", "rows": []}
    print(f"{name} …", end=" ", flush=True)
    result: dict[str, object]
    try:
        result = {"rows": SECTIONS[name](bench)}
    except (torch.OutOfMemoryError, RuntimeError, HeadroomError, ImportError) as error:
        # RuntimeError is what torch raises for a kernel, a compiler or a shape that fails.
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}"[:2000]
        result = {"error": said, "at": f"{Path(where.filename).name}:{where.lineno}", "rows": []}
    bench.device.release()
    took = time.monotonic() - began
    print(f"{took:.1f} s" + (f", {result['error']}" if "error" in result else ""), flush=True)
    return {"took_seconds": took, **result}


def faults(found: dict[str, object]) -> list[str]:
    """A line for every section that broke off or was skipped, and every check that is not ok."""
    lines = []
    for name, result in found.items():
        assert isinstance(result, dict)
        lines += [f"{name}: {result[key]}" for key in ("error", "skipped") if key in result]
        for row in result["rows"]:
            if row.get("ok") is False:
                lines.append(f"{name}: {row.get('check', row.get('song'))}")
    return lines


def save(path: Path, report: dict[str, object]) -> None:
    """The whole file or none of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
