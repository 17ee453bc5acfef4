"""Queries a device and its host, and returns them as a `Machine`."""

from __future__ import annotations

from pathlib import Path

import psutil

from headroom.device import (
    AUTO,
    SIMULATED_BYTES,
    Device,
    built_for_cards,
    open_device,
    prepare_allocator,
)
from headroom.hardware.bandwidth import assumed, measured
from headroom.hardware.host import (
    Processor,
    cores,
    features_of,
    host_machine,
    remember,
    standing_for,
)
from headroom.hardware.machine import HOST_MEMORY_RATE, HOST_RATE, DType, Machine
from headroom.settings import Settings
from headroom.units import GIB


def open_probed(settings: Settings, word: str = AUTO) -> Device:
    """The device named by `word`, or else by the settings, with the cap set for its kind.

    Raises the errors of `open_device`.
    """
    prepare_allocator(settings.alloc_conf)
    size = settings.vram_for("simulated")
    device = open_device(
        settings.device if word == AUTO else word,
        SIMULATED_BYTES if size is None else int(size * GIB),
        settings.accounts,
    )
    cap = settings.vram_for(device.kind)
    if cap is not None:
        device.set_cap(int(cap * GIB))
    return device


def machine_of(device: Device, settings: Settings) -> Machine:
    """The machine of a device from `open_probed`, including the card named in the settings."""
    return standing_for(probe_device(device, settings.cache_dir), settings)


def probe_device(device: Device, cache_dir: Path | None = None) -> Machine:
    """The current state of a device and its host.

    What is slow to learn is kept in `cache_dir`, if given: a card's rates, and what torch tells of
    the processor where it can use no card.
    """
    if device.kind == "cpu":
        dtype: DType = "bfloat16" if "bfloat16" in device.features() else "float32"
        seen = Processor(device.name, tuple(sorted(device.features())), device.attention(dtype))
        if cache_dir is not None and not built_for_cards():
            remember(seen, cache_dir)
        return host_machine(seen, device.cap)
    memory = psutil.virtual_memory()
    rates = measured(device, cache_dir) if device.kind == "cuda" else assumed(device)
    return Machine(
        name=device.name,
        kind=device.kind,
        total=device.total_memory(),
        free=device.free_memory(),
        host_total=int(memory.total),
        host_free=int(memory.available),
        cores=cores(),
        cap=device.cap,
        copy_rate=rates.copy,
        memory_rate=rates.memory,
        matrix_rate=rates.matrix,
        host_rate=HOST_RATE,
        host_memory_rate=HOST_MEMORY_RATE,
        features=features_of(device.features()),
    )
