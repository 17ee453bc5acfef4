"""The machine: what it is, and the rates every floor is reckoned from."""

from __future__ import annotations

import platform
import sys
from functools import partial
from importlib import metadata

import torch

from gpu_check.bench import Bench, Row
from headroom.runtime.compiled import compiler

PACKAGES = ("headroom-audio", "triton", "diffusers", "numpy", "pydantic", "safetensors")


def card(bench: Bench) -> list[Row]:
    device = bench.device
    row: Row = {
        "name": device.name,
        "kind": device.kind,
        "memory_bytes": device.total_memory(),
        "free_bytes": device.free_memory(),
        "features": sorted(device.features()),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "compiler": compiler(bench.where),
        "packages": {name: _version(name) for name in PACKAGES},
    }
    if bench.where.type == "cuda":
        properties = torch.cuda.get_device_properties(bench.where)
        row["capability"] = f"{properties.major}.{properties.minor}"
        row["multiprocessors"] = properties.multi_processor_count
        row["driver"] = _driver()
    return [row, *_rates(bench)]


def _rates(bench: Bench) -> list[Row]:
    n, rows = bench.sizes.product, []
    for dtype in (torch.bfloat16, torch.float32):
        name = str(dtype).removeprefix("torch.")
        a, b = (torch.randn(n, n, device=bench.where).to(dtype) for _ in range(2))
        bench.rates[name] = 2 * n**3 / bench.seconds(partial(torch.matmul, a, b))
        rows.append({"rate": f"matrix product {name}", "flops_per_second": bench.rates[name]})
    source = torch.empty(bench.sizes.copied // 4, device=bench.where).normal_()
    target = torch.empty_like(source)
    bench.rates["copy"] = 2 * bench.sizes.copied / bench.seconds(lambda: target.copy_(source))
    rows.append({"rate": "copy on the device", "bytes_per_second": bench.rates["copy"]})
    size = min(bench.sizes.copied, 1 << 30) // 4
    host, there = torch.ones(size), target[:size]
    pinned = bench.device.pin(host)
    for name, tensor in (("pageable", host), ("pinned", pinned)):
        rate = 4 * size / bench.seconds(partial(there.copy_, tensor, non_blocking=True))
        rows.append({"rate": f"host to device, {name}", "bytes_per_second": rate})
    return rows


def _driver() -> str:
    ask = getattr(torch._C, "_cuda_getDriverVersion", None)
    return str(ask()) if ask else "unknown"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
