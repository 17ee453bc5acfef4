"""The published comparison of management, line by line: what the flag changes, and what it leaves.

The published figures are in the guide GPU_MANAGEMENT_CHANGES, beside those of
`benchmarks/management.py`; here it is bytes and copies, which are exact.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
import torch

from headroom.cli.serve import parser
from headroom.device.simulated import SimulatedDevice
from headroom.engine.engine import Engine
from headroom.engine.options import EngineOptions
from headroom.memory.plan import Residency
from headroom.models.base import Loader
from headroom.settings import load
from support.woven import ASKED, NAMES, ROOM, Woven, woven

WITH = {**ROOM, "HEADROOM_GPU_MANAGEMENT": "true"}


@dataclass
class Counting(Woven):
    """Counts how often each part is loaded."""

    loads: Counter[str] = field(default_factory=Counter)

    def loaders(self) -> dict[str, Loader]:
        def counted(name: str, loader: Loader) -> Loader:
            def load_() -> object:
                self.loads[name] += 1
                return loader()

            return load_

        return {name: counted(name, loader) for name, loader in super().loaders().items()}


@dataclass
class Seen:
    """An engine with and without the flag, and what it did."""

    engine: Engine
    model: Counting

    @property
    def device(self) -> SimulatedDevice:
        return cast("SimulatedDevice", self.engine.device)

    @property
    def resident(self) -> int:
        """Bytes on the card beyond those before the engine was opened."""
        return self.device.memory_allocated() - self.engine._pool.floor

    def song(self) -> tuple[torch.Tensor, int, int]:
        """The samples, the bytes that went to the card for them, and the most on the card."""
        before = self.device.bytes_to_device
        self.device.reset_peak()
        result = self.engine.generate(ASKED)
        made = result.audios[0].samples
        return made, self.device.bytes_to_device - before, self.device.max_memory_allocated()


@contextmanager
def seen(env: dict[str, str]) -> Iterator[Seen]:
    model = Counting()
    with woven(Residency.RESIDENT, env, model=model) as engine:
        yield Seen(engine, model)


def flag(with_: Seen, without: Seen) -> None:
    """The parameter: nothing, or --enable-gpu-management; off by default, 600 s if on."""
    assert EngineOptions().gpu_management is False
    assert load({}).gpu_management is False and load({}).gpu_idle_timeout == 600
    given = parser().parse_args(["--enable-gpu-management", "--gpu-idle-timeout", "60"])
    assert given.enable_gpu_management is True and given.gpu_idle_timeout == "60"


def idle_memory(with_: Seen, without: Seen) -> None:
    """Idle: all of the weights, or none."""
    for one in (with_, without):
        assert one.resident == 0
        one.song()
    assert without.resident == sum(part.device_bytes for part in without.engine.status()) > 0
    assert with_.resident == 0
    assert with_.engine._pool.bytes() == 0


def memory_in_use(with_: Seen, without: Seen) -> None:
    """In use: the same."""
    assert with_.song()[2] == without.song()[2]


def first_response(with_: Seen, without: Seen) -> None:
    """First: the same; each part is loaded once, and copied once."""
    assert with_.song()[1] == without.song()[1] > 0
    assert with_.model.loads == without.model.loads == Counter(NAMES)


def later_responses(with_: Seen, without: Seen) -> None:
    """Later: a copy of the weights and nothing else; none is loaded again, none copied back."""
    for one in (with_, without):
        one.song()
    weights = without.resident
    back = with_.device.bytes_to_host
    _, copied, _ = with_.song()
    _, nothing, _ = without.song()
    returned = with_.device.bytes_to_host - back
    assert copied - nothing == weights
    assert with_.model.loads == without.model.loads == Counter(NAMES)
    assert returned < weights  # the song alone


ROWS = [flag, idle_memory, memory_in_use, first_response, later_responses]


@pytest.mark.parametrize("row", ROWS)
def test_a_line_of_the_comparison(row: Callable[[Seen, Seen], None]) -> None:
    with seen(WITH) as with_, seen(ROOM) as without:
        row(with_, without)


def test_without_the_flag_nothing_changes(caplog: pytest.LogCaptureFixture) -> None:
    """The same class, the same bytes, no thread and no word in the log."""
    before = set(threading.enumerate())
    with seen(ROOM) as without:
        plain = without.song()[0]
        assert set(threading.enumerate()) == before
        assert "GPU 管理" not in caplog.text
        with seen(WITH) as with_:
            managed = with_.song()[0]
            (more,) = set(threading.enumerate()) - before
            assert more.name == "idle parts"
            assert type(with_.engine) is type(without.engine) is Engine
            assert type(with_.engine._pool) is type(without.engine._pool)
    assert torch.equal(plain, managed)
    assert set(threading.enumerate()) == before
    assert "🚀 GPU 管理已启用" in caplog.text
