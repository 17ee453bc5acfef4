"""The other processes on the card of an engine process, where its driver lists them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PureWindowsPath

from pydantic import JsonValue

from headroom.device.open import identities
from headroom.hardware.holders import Holder, gpu_processes
from headroom.units import MIB

_SECONDS = 15.0  # for which an answer of the driver is told


@dataclass(slots=True)
class Neighbours:
    """Asks the driver at most every 15 s for each card."""

    ask: Callable[[str], tuple[Holder, ...] | None] = lambda uuid: gpu_processes(uuid=uuid)
    _until: dict[str, float] = field(default_factory=dict)
    _known: dict[str, tuple[Holder, ...] | None] = field(default_factory=dict)

    def of(self, *devices: str) -> list[JsonValue] | None:
        """Those on the devices of these words, such as cuda:0, each once: process id, name of the
        program, bytes on all of the devices. None where nobody knows of any."""
        told = [found for word in sorted(set(devices)) if (found := self._on(word)) is not None]
        if not told:
            return None
        merged: dict[int, Holder] = {}
        for one in (one for found in told for one in found if one.pid != os.getpid()):
            before = merged.get(one.pid)
            merged[one.pid] = one if before is None else _together(before, one)
        return [_told(one) for one in merged.values()]

    def _on(self, device: str) -> tuple[Holder, ...] | None:
        if not device.startswith("cuda"):
            return None
        now = time.monotonic()
        if now >= self._until.get(device, 0.0):
            self._known[device] = self.ask(identities()[device].rpartition(" ")[2])
            self._until[device] = now + _SECONDS  # last: with an answer only
        return self._known[device]


def _together(one: Holder, other: Holder) -> Holder:
    """The same process on two cards."""
    sizes = [size for size in (one.megabytes, other.megabytes) if size is not None]
    return Holder(one.pid, one.name, sum(sizes) if sizes else None)


def _told(one: Holder) -> JsonValue:
    return {
        "pid": one.pid,
        "name": PureWindowsPath(one.name).name,  # which reads both kinds of slashes
        "bytes": None if one.megabytes is None else one.megabytes * MIB,
    }
