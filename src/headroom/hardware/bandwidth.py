"""Speed of a card: measured once and cached, or assumed from the size of its memory.

The rates decide which plan is preferred, never what fits, so a measurement stays valid until the
card, the driver's view of it, or torch changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from headroom.audio.atomic import write_json
from headroom.device import Device
from headroom.errors import InvalidFile, InvalidOutput
from headroom.files import read_json
from headroom.hardware.machine import card
from headroom.log import log
from headroom.units import GIB, MIB

FILE = "rates.json"
TRIES = 3
COPY = 64 * MIB
MATRIX = 4096


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates per second: bytes from host to device, bytes of device memory, operations of matrix
    products."""

    copy: float | None
    memory: float | None
    matrix: float | None


def assumed(device: Device) -> Rates:
    """The rates assumed for a card of this size; none for a host, which copies nothing."""
    if device.kind == "cpu":
        return Rates(None, None, None)
    like = card(device.total_memory() / GIB)
    return Rates(like.copy_rate, like.memory_rate, like.matrix_rate)


def measured(device: Device, folder: Path | None) -> Rates:
    """The measured rates, read from the cache folder if this card was measured before.

    Without a folder nothing is cached.
    """
    if folder is None:
        return measure_rates(device)
    path = folder / FILE
    key = f"{device.name}, torch {torch.__version__}"
    cache = _read(path)
    before = _rates(cache.get(key))
    if before is not None:
        return before
    rates = measure_rates(device)
    log.debug("measured %s: %s", key, rates)
    try:
        write_json(path, {**cache, key: asdict(rates)}, "cache_dir")
    except InvalidOutput as error:  # without a writable cache, the next run measures again
        log.debug("rates are not remembered: %s", error)
    return rates


def measure_rates(device: Device) -> Rates:
    """Time a copy from page-locked memory, a copy on the device, and a matrix product in its fast
    type; the best of three runs each."""
    fast = torch.bfloat16 if "bfloat16" in device.features() else torch.float32
    with device.inside(), torch.inference_mode():
        host = device.pin(torch.empty(COPY, dtype=torch.uint8))
        target = torch.empty(COPY, dtype=torch.uint8, device=device.torch)
        twin = torch.empty_like(target)
        a = torch.ones(MATRIX, MATRIX, dtype=fast, device=device.torch)
        copy = _best(device, lambda: target.copy_(host, non_blocking=True))
        memory = _best(device, lambda: twin.copy_(target))
        product = _best(device, lambda: a @ a)
    return Rates(COPY / copy, 2 * COPY / memory, 2.0 * MATRIX**3 / product)


def _best(device: Device, work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(TRIES):
        device.synchronize()
        began = time.perf_counter()
        work()
        device.synchronize()
        times.append(time.perf_counter() - began)
    return max(min(times), 1e-9)


def _rates(value: object) -> Rates | None:
    """The cached rates of a card; None for anything that `measured` did not write."""
    names = [field.name for field in fields(Rates)]
    if not isinstance(value, dict) or sorted(value) != sorted(names):
        return None
    if not all(isinstance(rate, float) and 0 < rate < 1e18 for rate in value.values()):
        return None
    return Rates(**value)


def _read(path: Path) -> dict[str, object]:
    try:
        content = read_json(path)
    except InvalidFile:
        return {}
    return content if isinstance(content, dict) else {}
