from __future__ import annotations

import json
from pathlib import Path

from headroom.device.host import HostDevice
from headroom.device.simulated import SimulatedDevice
from headroom.hardware import bandwidth
from headroom.hardware.bandwidth import assumed, measured
from headroom.units import GIB


def test_a_card_is_measured_once_and_remembered(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bandwidth, "COPY", 1 << 16)
    monkeypatch.setattr(bandwidth, "MATRIX", 64)
    calls = []
    real = bandwidth.measure_rates
    monkeypatch.setattr(bandwidth, "measure_rates", lambda device: calls.append(1) or real(device))
    first = measured(HostDevice(), tmp_path)
    assert min(first.copy, first.memory, first.matrix) > 0
    assert measured(HostDevice(), tmp_path) == first and len(calls) == 1
    (known,) = json.loads((tmp_path / "rates.json").read_text()).values()
    assert known["copy"] == first.copy


def test_a_torn_memory_is_measured_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bandwidth, "MATRIX", 64)
    (tmp_path / "rates.json").write_text("{")
    assert measured(HostDevice(), tmp_path).matrix > 0


def test_what_nobody_measured_is_taken_as_cards_of_that_size_are() -> None:
    small, large = assumed(SimulatedDevice(4 * GIB)), assumed(SimulatedDevice(24 * GIB))
    assert small.copy < large.copy and small.matrix < large.matrix
    assert assumed(HostDevice()).copy is None
