from __future__ import annotations

import pytest
import torch

from headroom.device.host import HostDevice, cpu_features
from headroom.hardware.machine import fast_dtype
from headroom.hardware.probe import probe_device
from headroom.units import GIB


def test_the_host_is_probed():
    machine = probe_device(HostDevice())
    assert machine.kind == "cpu" and machine.name
    assert 0 < machine.free <= machine.total == machine.host_total
    assert machine.cores >= 1 and machine.cap is None


def test_a_cap_is_part_of_the_machine():
    device = HostDevice()
    device.set_cap(2 * GIB)
    assert probe_device(device).budget <= 2 * GIB


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"avx512_f": True, "avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({}, "float32"),
    ],
)
def test_the_instruction_set_decides_the_fast_type(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    machine = probe_device(HostDevice())
    assert fast_dtype(machine) == dtype
    assert set(machine.features.isa) == {name for name, there in capabilities.items() if there}


def test_a_torch_that_cannot_say_is_taken_as_slow(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert cpu_features() == frozenset()
