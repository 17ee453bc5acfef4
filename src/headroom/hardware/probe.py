"""Queries a device and its host, and returns them as a `Machine`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil

from headroom.device import AUTO, SIMULATED_BYTES, Device, open_device, prepare_allocator
from headroom.hardware.bandwidth import assumed, measured
from headroom.hardware.machine import HOST_MEMORY_RATE, HOST_RATE, Features, Machine
from headroom.settings import Settings
from headroom.units import GIB

KNOWN = frozenset({"bfloat16", "float16", "fp8", "flash"})


def opened(settings: Settings, word: str = AUTO) -> Device:
    """The device named by `word`, or else by the settings, with the cap set for its kind.

    Raises the errors of `open_device`.
    """
    prepare_allocator(settings.alloc_conf)
    size = settings.vram_for("simulated")
    device = open_device(
        settings.device if word == AUTO else word,
        SIMULATED_BYTES if size is None else int(size * GIB),
    )
    cap = settings.vram_for(device.kind)
    if cap is not None:
        device.set_cap(int(cap * GIB))
    return device


def machine_of(device: Device, settings: Settings) -> Machine:
    """The machine of a device that `opened` returned, including the card named in the settings."""
    found = probe(device, settings.cache_dir)
    named = None if found.accelerated else settings.vram_for("simulated")
    return found if named is None else replace(found, stands_for=int(named * GIB))


def probe(device: Device, cache_dir: Path | None = None) -> Machine:
    """The current state of a device and its host; its rates are cached in `cache_dir`, if given."""
    memory = psutil.virtual_memory()
    found = device.features()
    rates = measured(device, cache_dir) if device.kind == "cuda" else assumed(device)
    return Machine(
        name=device.name,
        kind=device.kind,
        total=device.total_memory(),
        free=device.free_memory(),
        host_total=int(memory.total),
        host_free=int(memory.available),
        cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        cap=device.cap,
        copy_rate=rates.copy,
        memory_rate=rates.memory,
        matrix_rate=rates.matrix,
        host_rate=HOST_RATE if device.kind != "cpu" else None,
        host_memory_rate=HOST_MEMORY_RATE if device.kind != "cpu" else None,
        features=Features(
            bfloat16="bfloat16" in found,
            float16="float16" in found,
            fp8="fp8" in found,
            flash="flash" in found,
            isa=tuple(sorted(found - KNOWN)),
        ),
    )
