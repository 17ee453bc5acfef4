"""The machine that plans are made for, examined by a child process, as only that imports torch."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from threading import Lock
from typing import Any

from headroom.hardware.here import host_without_torch, machine_here
from headroom.hardware.machine import Features, Machine, group
from headroom.log import log
from headroom.settings import AUTO, Settings

_SECONDS = 120.0  # that torch may take to start on a machine that is busy


@dataclass(slots=True)
class Examined:
    """Knows the machine from the first call on. Its device counts as free: what is on it then is
    mostly an engine of this service, which makes room for what it is asked for."""

    settings: Settings
    _lock: Lock = field(default_factory=Lock)
    _known: Machine | None = None
    _asked: bool = False

    def __post_init__(self) -> None:
        groups = (self.settings.service_cards or "").split()
        if groups:  # plans are those of the first engine process
            self.settings = self.settings.model_copy(update={"device": groups[0]})

    def __call__(self) -> Machine | None:
        """The machine; None if the settings name a card instead, or if it cannot be examined."""
        if self.settings.device == AUTO and self.settings.vram_for("simulated") is not None:
            return None
        with self._lock:
            if not self._asked:
                self._known, self._asked = _examined(self.settings), True
            return self._known


def _examined(settings: Settings) -> Machine | None:
    if host_without_torch(settings) is not None:
        return machine_here(settings)
    ask = [sys.executable, "-m", "headroom.service.machine"]
    given = pickle.dumps(settings)
    try:
        done = subprocess.run(ask, input=given, capture_output=True, check=True, timeout=_SECONDS)
        found = _restored(json.loads(done.stdout))
    except (subprocess.SubprocessError, OSError, ValueError, TypeError, KeyError) as error:
        log.warning("this machine cannot be examined (%s)", type(error).__name__)
        return None
    return group([replace(c, free=c.total) if c.accelerated else c for c in found.cards])


def _restored(told: dict[str, Any]) -> Machine:
    """The machine that `main` printed."""
    isa, holds = tuple(told["features"]["isa"]), tuple(told["holds"])
    features = Features(**{**told["features"], "isa": isa})
    beside = tuple(_restored(one) for one in told["beside"])
    return Machine(**{**told, "features": features, "holds": holds, "beside": beside})


def main() -> None:
    """Print the machine as JSON, for the settings on standard input: with the values of flags."""
    settings = pickle.load(sys.stdin.buffer)
    sys.stdout.write(json.dumps(asdict(machine_here(settings))))


if __name__ == "__main__":
    main()
