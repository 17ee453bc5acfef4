"""Queries a device and its host, and returns them as a `Machine`."""

from __future__ import annotations

from collections.abc import Sequence
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
    named_devices,
    remember,
    standing_for,
)
from headroom.hardware.machine import HOST_MEMORY_RATE, HOST_RATE, DType, Machine, group
from headroom.settings import Settings
from headroom.units import GIB


def open_probed(settings: Settings, word: str = AUTO) -> tuple[Device, ...]:
    """The devices named by `word`, or else by the settings, each with the cap set for its kind:
    several only of a group of cards.

    Raises the errors of `open_device`, and InvalidRequest for words that make no group.
    """
    prepare_allocator(settings.alloc_conf)
    size = settings.vram_for("simulated")
    each = SIMULATED_BYTES if size is None else int(size * GIB)
    words = named_devices(settings, word)
    devices = tuple(open_device(one, each, settings.accounts) for one in words)
    for device in devices:
        cap = settings.vram_for(device.kind)
        if cap is not None:
            device.set_cap(int(cap * GIB))
    return devices


def machine_of(devices: Sequence[Device], settings: Settings) -> Machine:
    """The machine of devices from `open_probed`, including the card named in the settings."""
    cards = [probe_device(device, settings.cache_dir) for device in devices]
    return standing_for(group(cards), settings)


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
