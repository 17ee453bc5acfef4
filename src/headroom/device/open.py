"""From a word ("auto", "cuda:1", "cpu") to a device."""

from __future__ import annotations

import os
import platform
import sys
from typing import NoReturn

import torch

from headroom.device.base import Device
from headroom.device.cuda import CudaDevice
from headroom.device.host import HostDevice
from headroom.device.other import MpsDevice, XpuDevice
from headroom.device.simulated import SimulatedDevice
from headroom.errors import InvalidRequest
from headroom.units import GIB

AUTO = "auto"
SIMULATED_BYTES = 8 * GIB  # of a simulated card whose size nobody named


# Segments that grow leave holes of 1 to 4 % of what is in use where others leave 10 to 25 %
# (`scripts/prove requests`); torch has them on Linux, and warns elsewhere.
GROWING = "expandable_segments:True"


def prepare_allocator(options: str | None) -> None:
    """Let torch's allocator have these options, or those that are best here.

    Only before CUDA starts do they count.
    """
    if torch.cuda.is_initialized():
        return
    if options is None and sys.platform == "linux" and not spills() and torch.version.cuda:
        options = GROWING
    if options is not None:
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", options)


def spills() -> bool:
    """Whether the driver puts what does not fit into host memory instead of failing: Windows and
    its Linux, where a song then takes hours."""
    return sys.platform == "win32" or "microsoft" in platform.release().lower()


def present() -> tuple[str, ...]:
    """The kinds of device this machine has, the preferred one first; the CPU is always there."""
    asked = (
        ("cuda", torch.cuda.is_available()),
        ("xpu", torch.xpu.is_available()),
        ("mps", torch.backends.mps.is_available()),
    )
    return (*(kind for kind, there in asked if there), "cpu")


def cards() -> tuple[tuple[str, str, int], ...]:
    """Every card that has a number: the word that names it, its own name, and its bytes."""
    found = []
    for kind, module in (("cuda", torch.cuda), ("xpu", torch.xpu)):
        if kind not in present():
            continue
        for index in range(module.device_count()):
            total = int(module.get_device_properties(index).total_memory)
            found.append((f"{kind}:{index}", str(module.get_device_name(index)), total))
    return tuple(found)


def open_device(word: str = AUTO, simulated_bytes: int = SIMULATED_BYTES) -> Device:
    """The device a word names: auto, cuda, mps, xpu or cpu; cuda and xpu with an index, as cuda:1.

    `simulated` is a card of `simulated_bytes` that is not there, over real tensors. Raises
    InvalidRequest for a word that names nothing, or a device that is not here.
    """
    if word.strip().lower() == "simulated":
        return SimulatedDevice(simulated_bytes)
    kinds = present()
    kind, colon, number = word.strip().lower().partition(":")
    if kind == AUTO and not colon:
        kind = kinds[0]
    if kind not in kinds or (colon and kind not in ("cuda", "xpu")):
        _refuse(word, kinds)
    if colon and not (number.isdecimal() and len(number) < 5 and int(number) < _count(kind)):
        _refuse(word, kinds)
    index = int(number) if colon else 0
    if kind == "cuda":
        return CudaDevice(index, spills())
    if kind == "xpu":
        return XpuDevice(index)
    return MpsDevice() if kind == "mps" else HostDevice()


def _count(kind: str) -> int:
    return torch.cuda.device_count() if kind == "cuda" else torch.xpu.device_count()


def _refuse(word: str, kinds: tuple[str, ...]) -> NoReturn:
    raise InvalidRequest(
        "device", word, "auto, simulated, or one that is here: " + ", ".join(kinds)
    )
