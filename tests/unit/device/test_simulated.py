"""The card that is not there: what it counts, what it refuses, what it computes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from headroom.device import open_device
from headroom.device.simulated import SimulatedDevice, SimulatedRates
from headroom.nn.attention import self_attention
from headroom.nn.library import rms_norm
from headroom.units import GIB, MIB
from support.near import assert_near


@pytest.fixture
def device() -> SimulatedDevice:
    return SimulatedDevice(GIB)


def test_bytes_are_those_of_storages_while_they_live(device: SimulatedDevice) -> None:
    with device.inside():
        x = torch.empty(1024, device=device.torch)
        view = x[10:20].view(2, 5)
        assert device.memory_allocated() == 4096
        del x
        assert device.memory_allocated() == 4096
        y = view + 1
        assert device.memory_allocated() == 4096 + 40
        y.add_(1)
        assert device.memory_allocated() == 4096 + 40
        del view, y
    assert device.memory_allocated() == 0 and device.max_memory_allocated() == 4096 + 40


def test_a_cap_binds(device: SimulatedDevice) -> None:
    device.set_cap(10 * MIB)
    with device.inside():
        held = torch.empty(6 * MIB, dtype=torch.uint8, device=device.torch)
        with pytest.raises(torch.OutOfMemoryError, match="cannot be had"):
            torch.empty(5 * MIB, dtype=torch.uint8, device=device.torch)
        del held
        torch.empty(10 * MIB, dtype=torch.uint8, device=device.torch)
    assert device.memory_allocated() == 0


def test_holes_count_against_the_cap() -> None:
    device = SimulatedDevice(105 * MIB, fragmentation=0.05)
    with device.inside():
        torch.empty(100 * MIB, dtype=torch.uint8, device=device.torch)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(100 * MIB + 1, dtype=torch.uint8, device=device.torch)


def test_one_allocation_can_be_made_to_fail(device: SimulatedDevice) -> None:
    device.fail_at = 3
    with device.inside():
        kept = [torch.empty(1, device=device.torch) for _ in range(2)]
        with pytest.raises(torch.OutOfMemoryError, match="as it was told"):
            torch.empty(1, device=device.torch)
        kept.append(torch.empty(1, device=device.torch))
    assert len(kept) == 3


def test_tensors_apart_are_an_error_as_on_a_card(device: SimulatedDevice) -> None:
    with device.inside():
        there = torch.ones(3).to(device.torch)
        with pytest.raises(RuntimeError, match="apart"):
            there + torch.ones(3)
        assert (there + torch.tensor(2.0)).cpu().tolist() == [3, 3, 3]


@torch.inference_mode()
def test_it_computes_what_the_host_computes(device: SimulatedDevice) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 8), torch.randn(6, 8)
    q, kv = torch.randn(7, 4, 8), torch.randn(7, 2, 8)
    with device.inside():
        there = F.silu(F.linear(x.to(device.torch), weight.to(device.torch)))
        norm = rms_norm(x.to(device.torch), torch.ones(8).to(device.torch), 1e-6)
        attended = self_attention(q.to(device.torch), *[kv.to(device.torch)] * 2, [7])
        assert torch.equal(there.cpu(), F.silu(F.linear(x, weight)))
    assert_near(norm.cpu(), lambda: F.rms_norm(x, (8,), eps=1e-6))
    assert_near(attended.cpu(), lambda: self_attention(q, kv, kv, [7]))


def test_without_values_shapes_are_known_and_bytes_counted() -> None:
    device = SimulatedDevice(1024 * GIB, fake=True)
    with device.inside():
        weight = torch.empty(100_000, 100_000, dtype=torch.bfloat16, device="meta")
        there = weight.to(device.torch)
        assert device.memory_allocated() == 2 * 10**10 == device.bytes_to_device
        x = torch.randn(3, 100_000, dtype=torch.bfloat16).to(device.torch)
        y = F.linear(x, there).cpu()
    assert y.shape == (3, 100_000) and bool(torch.isfinite(y.float()).all())


def test_queues_have_clocks_and_events_hold_them_together() -> None:
    device = SimulatedDevice(GIB, rates=SimulatedRates(matrix=1e12, memory=1e12, link=1e6))
    other, mark = device.stream(), device.event()
    with device.inside():
        x = torch.empty(250_000, device=device.torch)
        with other.use():
            x.copy_(torch.empty(250_000))  # a megabyte, a second
        mark.record(other)
        mark.wait(device.current_stream())
        x + 1
    (copy,) = [e for e in device.log if e.what == "to device"]
    assert (copy.end, copy.bytes) == (pytest.approx(1.0), 1_000_000)
    assert [e.start for e in device.log if e.what == "add"] == [pytest.approx(1.0)]


def test_the_word_opens_it() -> None:
    device = open_device("simulated", 3 * GIB)
    assert (device.kind, device.total_memory()) == ("simulated", 3 * GIB)


def test_what_was_entered_inside_and_never_left_is_left_with_it():
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    device = SimulatedDevice(MIB)
    first, lost = device.inside(), device.inside()
    first.__exit__(None, None, None)  # it was never entered
    with first:
        lost.__enter__()
    first.__exit__(None, None, None)
    assert _get_current_dispatch_mode_stack() == []


def test_a_view_takes_no_time() -> None:
    device = SimulatedDevice(GIB, rates=SimulatedRates(matrix=1e12, memory=1e6, link=1e6))
    with device.inside(), torch.inference_mode():
        x = torch.zeros(1000, device=device.torch)
        before = len(device.log)
        x.view(10, 100)[2:4].t().detach().unbind(0)
        assert len(device.log) == before
        x + x
        assert [work.what for work in device.log[before:]] == ["add"]
