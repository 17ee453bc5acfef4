"""Opens the device named by a word such as "auto", "cuda:1" or "cpu", and lists those present."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import NoReturn
from weakref import WeakValueDictionary

import torch

from headroom.device.base import Device
from headroom.device.cuda import CudaDevice
from headroom.device.host import HostDevice
from headroom.device.other import MpsDevice, XpuDevice
from headroom.device.shared import NAME, SharedDevice
from headroom.device.simulated import SimulatedDevice
from headroom.errors import InvalidRequest
from headroom.units import GIB

AUTO = "auto"
_SHARED: WeakValueDictionary[tuple[Path, str], SharedDevice] = WeakValueDictionary()
SIMULATED_BYTES = 8 * GIB  # default size of a simulated card


# Expandable segments lose 1 to 4 % of the memory in use to fragmentation, others 10 to 25 %
# (`scripts/prove requests`); torch supports them on Linux, and warns on other systems.
GROWING = "expandable_segments:True"


def prepare_allocator(options: str | None) -> None:
    """Set the options of torch's allocator to `options`, or to the best ones for this system.

    They only take effect before CUDA is initialised.
    """
    if torch.cuda.is_initialized():
        return
    if options is None and sys.platform == "linux" and not spills() and torch.version.cuda:
        options = GROWING
    if options is not None:
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", options)


def spills() -> bool:
    """Whether the driver spills to host memory instead of failing. It does on Windows and WSL,
    where a song then takes hours."""
    return sys.platform == "win32" or "microsoft" in platform.release().lower()


def present() -> tuple[str, ...]:
    """The kinds of device on this machine, in order of preference; the CPU is always present."""
    backends = (
        ("cuda", torch.cuda.is_available()),
        ("xpu", torch.xpu.is_available()),
        ("mps", torch.backends.mps.is_available()),
    )
    return (*(kind for kind, available in backends if available), "cpu")


def built_for_cards() -> bool:
    """Whether this build of torch could use a card, here or after a driver is installed."""
    versions = (getattr(torch.version, name, None) for name in ("cuda", "hip", "xpu"))
    return any(versions) or torch.backends.mps.is_built()


def cards() -> tuple[tuple[str, str, int], ...]:
    """Every indexed card: the word that selects it, its model name, and its bytes of memory."""
    devices = []
    for kind, module in (("cuda", torch.cuda), ("xpu", torch.xpu)):
        if kind not in present():
            continue
        for index in range(module.device_count()):
            total = int(module.get_device_properties(index).total_memory)
            devices.append((f"{kind}:{index}", str(module.get_device_name(index)), total))
    return tuple(devices)


def identities() -> dict[str, str]:
    """The identity of every indexed card, by the word that selects it. The same card has the same
    in every process, whichever cards the process sees."""
    found = {}
    for word, _, _ in cards():
        kind, _, index = word.partition(":")
        module = torch.cuda if kind == "cuda" else torch.xpu
        properties = module.get_device_properties(int(index))
        found[word] = f"{kind} {getattr(properties, 'uuid', index)}"
    return found


def open_device(
    word: str = AUTO, simulated_bytes: int = SIMULATED_BYTES, shared: Path | None = None
) -> Device:
    """The device named by a word: auto, cuda, mps, xpu or cpu; cuda and xpu may have an index, as
    in cuda:1.

    `simulated` is a simulated card of `simulated_bytes`, over real tensors; with a name, as in
    simulated:lab, it is one card for all processes that use the folder `shared`. Raises
    InvalidRequest for an unknown word, and for a device that is not present.
    """
    kind, colon, number = word.strip().lower().partition(":")
    if kind == "simulated" and colon and shared is not None and NAME.fullmatch(number):
        return _shared(number, shared, simulated_bytes)
    if word.strip().lower() == "simulated":
        return SimulatedDevice(simulated_bytes)
    kinds = present()
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


def _shared(name: str, folder: Path, total: int) -> SharedDevice:
    """The one of this process."""
    place = folder.absolute(), name
    device = _SHARED.get(place)
    if device is None:
        device = _SHARED[place] = SharedDevice(name, folder, total)
    return device


def _count(kind: str) -> int:
    return torch.cuda.device_count() if kind == "cuda" else torch.xpu.device_count()


def _refuse(word: str, kinds: tuple[str, ...]) -> NoReturn:
    raise InvalidRequest(
        "device", word, "auto, simulated, or one that is here: " + ", ".join(kinds)
    )
