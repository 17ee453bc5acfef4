"""The processes on NVIDIA cards, as a pretended NVML tells of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from headroom.hardware.holders import Holder, gpu_processes


class NVMLError(Exception):
    """As in the library."""


@dataclass(frozen=True)
class Running:
    pid: int
    usedGpuMemory: int | None


CARDS = {"GPU-ab-cd": [Running(77, 3 << 20), Running(78, None)], "GPU-ef": [Running(79, 1 << 30)]}
NAMES = {77: b"/usr/bin/game", 79: "python"}


def name_of(pid: int) -> str | bytes:
    if pid not in NAMES:
        raise NVMLError
    return NAMES[pid]


def library(**other: object) -> SimpleNamespace:
    calls = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(CARDS),
        "nvmlDeviceGetHandleByIndex": lambda index: list(CARDS)[index],
        "nvmlDeviceGetUUID": lambda card: card,
        "nvmlDeviceGetComputeRunningProcesses": lambda card: CARDS[card],
        "nvmlSystemGetProcessName": name_of,
    }
    return SimpleNamespace(**{**calls, **other})


def test_nvml_is_asked_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library())
    first = (Holder(77, "/usr/bin/game", 3), Holder(78, "?", None))
    assert gpu_processes("nothing", uuid="ab-cd") == first
    assert gpu_processes("nothing") == (*first, Holder(79, "python", 1024))


def test_without_a_driver_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> int:
        raise NVMLError

    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlInit=broken))
    assert gpu_processes("nothing") is None
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetCount=broken))
    assert gpu_processes("nothing") is None
