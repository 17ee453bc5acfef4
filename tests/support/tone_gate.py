"""A gate in the decoding of the tone family: songs wait there, half decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

import pytest
import torch

from headroom.service import previews
from tone_model import model as tone

FRAMES = 25  # of a tile: a second
TILE = FRAMES * tone.FRAME  # samples


@dataclass
class Gate:
    """Lets so many tiles through; others wait."""

    opened: int = 1
    passed: int = 0
    more: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def open(self, tiles: int) -> None:
        with self.lock:
            self.opened = tiles
            self.more.set()

    def wait(self) -> None:
        with self.lock:
            self.passed += 1
            number = self.passed
        while number > self.opened:
            self.more.wait(60)
            with self.lock:
                self.more.clear()


@contextmanager
def gated() -> Iterator[Gate]:
    """Tones are decoded in seconds of sound, as far as the gate lets them; what is decoded can be
    heard at once."""
    gate, played = Gate(), tone.Oscillator.forward

    def forward(self: Any, *rest: Any) -> torch.Tensor:
        gate.wait()
        return played(self, *rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tone, "TILES", (FRAMES,))
        patched.setattr(tone.Oscillator, "forward", forward)
        patched.setattr(previews, "KEEP_SECONDS", 0.01)
        try:
            yield gate
        finally:
            gate.open(1 << 30)
