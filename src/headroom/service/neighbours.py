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
    _known: dict[str, list[JsonValue] | None] = field(default_factory=dict)

    def of(self, device: str) -> list[JsonValue] | None:
        """Those on the device of this word, as cuda:0: process id, name of the program, bytes;
        None where nobody knows."""
        if not device.startswith("cuda"):
            return None
        now = time.monotonic()
        if now >= self._until.get(device, 0.0):
            holders = self.ask(identities()[device].rpartition(" ")[2])
            self._known[device] = None if holders is None else [*_others(holders)]
            self._until[device] = now + _SECONDS  # last: with an answer only
        return self._known[device]


def _others(holders: tuple[Holder, ...]) -> list[JsonValue]:
    return [
        {
            "pid": one.pid,
            "name": PureWindowsPath(one.name).name,  # which reads both kinds of slashes
            "bytes": None if one.megabytes is None else one.megabytes * MIB,
        }
        for one in holders
        if one.pid != os.getpid()
    ]
