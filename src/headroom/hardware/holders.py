"""The processes that hold memory on NVIDIA cards, as their driver lists them. No torch."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headroom.units import MIB

QUERY = ("--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits")
_SECONDS = 20.0  # that the driver's program may take


@dataclass(frozen=True, slots=True)
class Holder:
    """A process with memory on a GPU. `megabytes` is None where the driver does not say."""

    pid: int
    name: str
    megabytes: int | None


def gpu_processes(
    program: str = "nvidia-smi", uuid: str | None = None
) -> tuple[Holder, ...] | None:
    """The processes that hold memory on NVIDIA cards, or on the card of this UUID; None if their
    driver is not installed or does not answer.

    NVML is asked where nvidia-ml-py is installed, else the driver's program.
    """
    nvml = _library()
    return _of_program(program, uuid) if nvml is None else _of_library(nvml, uuid)


def _library() -> Any:
    """NVML, ready to be asked; None where it is not there."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def _of_library(nvml: Any, uuid: str | None) -> tuple[Holder, ...] | None:
    found = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            card = nvml.nvmlDeviceGetHandleByIndex(index)
            if uuid is None or uuid in _text(nvml.nvmlDeviceGetUUID(card)):
                found += [
                    _holder(nvml, one) for one in nvml.nvmlDeviceGetComputeRunningProcesses(card)
                ]
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()
    return tuple(found)


def _holder(nvml: Any, one: Any) -> Holder:
    try:
        name = _text(nvml.nvmlSystemGetProcessName(one.pid))
    except nvml.NVMLError:  # of another container, or just gone
        name = "?"
    used = one.usedGpuMemory
    return Holder(int(one.pid), name, None if used is None else int(used) // MIB)


def _text(told: str | bytes) -> str:
    return told.decode("utf-8", "replace") if isinstance(told, bytes) else told


def _of_program(program: str, uuid: str | None) -> tuple[Holder, ...] | None:
    found = shutil.which(program)
    if found is None:
        return None
    which = () if uuid is None else ("-i", f"GPU-{uuid.removeprefix('GPU-')}")
    try:
        done = subprocess.run(
            [found, *QUERY, *which], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    return tuple(_holders(done.stdout))


def _holders(table: str) -> Iterator[Holder]:
    for line in table.splitlines():
        pid, comma, rest = line.partition(",")
        name, _, size = rest.rpartition(",")
        if comma and pid.strip().isdecimal():
            used = int(size) if size.strip().isdecimal() else None
            yield Holder(int(pid), name.strip(), used)
