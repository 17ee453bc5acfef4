"""Blocks through a ring: the same numbers, copies hidden behind work, and no slot written early."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from headroom.device.simulated import SimulatedDevice, SimulatedRates
from headroom.errors import Cancelled
from headroom.memory.plan import SLOTS, Placement, Plan, Residency, StagePlan
from headroom.nn.blocks import Blocks
from headroom.nn.linear import Linear
from headroom.runtime.entry import State
from headroom.runtime.pool import Parts, Pool
from headroom.runtime.run import Run, Step
from headroom.units import GIB

WIDTH, COUNT = 64, 9
BLOCK = WIDTH * WIDTH * 4


class Network(nn.Module):
    """Products one after another, each with a vector that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = Blocks(Linear(WIDTH, WIDTH) for _ in range(COUNT))
        self.bias = nn.Parameter(torch.randn(WIDTH), requires_grad=False)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.layers.through():
            x = block(x) + self.bias
        return x


def pool(rates: SimulatedRates | None = None) -> tuple[Pool, SimulatedDevice]:
    torch.manual_seed(1)
    network = Network()
    device = SimulatedDevice(GIB, rates=rates)
    return Pool(device, {"net": lambda: network}), device


def placed(how: Residency, kept: int = 0) -> list[Placement]:
    return [Placement("net", how, "float32", 0, kept)]


def run(where: Pool, device: SimulatedDevice, how: list[Placement], passes: int = 3) -> Tensor:
    with device.inside(), torch.inference_mode():
        network = where.lease(how).of("net", Network)
        x = torch.ones(4, WIDTH).to(device.torch)
        for _ in range(passes):
            x = network(x)
        out = x.cpu()
        del x
        where.give_back(how)
    return out


@pytest.mark.parametrize("kept", [0, 1, 4, COUNT - 1])
def test_streamed_is_resident_to_the_byte(kept: int) -> None:
    where, device = pool()
    expected = run(where, device, placed(Residency.SWAPPED))
    assert torch.equal(run(where, device, placed(Residency.STREAMED, kept)), expected)
    assert device.memory_allocated() == 0
    where.check_integrity()


def test_the_device_holds_the_slots_and_what_stays_and_no_more() -> None:
    where, device = pool()
    how = placed(Residency.STREAMED, 2)
    with device.inside(), torch.inference_mode():
        where.lease(how)
        assert device.memory_allocated() == (2 + SLOTS) * BLOCK + WIDTH * 4
        assert where.bytes("net") == device.memory_allocated()
        assert where.status()[0].state is State.PASSING
        where.give_back(how)
    assert device.memory_allocated() == 0


def test_every_block_is_copied_once_a_pass() -> None:
    where, device = pool()
    run(where, device, placed(Residency.STREAMED), passes=3)
    ahead = (SLOTS - 1) * BLOCK + BLOCK  # what was on its way into the next pass
    assert 0 <= device.bytes_to_device - 3 * COUNT * BLOCK - WIDTH * 4 - 4 * WIDTH * 4 <= ahead


def test_restoring_copies_each_byte_once() -> None:
    where, device = pool()
    how = placed(Residency.RESIDENT)
    run(where, device, how, 1)
    where.offload()
    before = device.bytes_to_device
    with device.inside():
        where.lease(how)
        where.give_back(how)
    assert device.bytes_to_device - before == COUNT * BLOCK + WIDTH * 4


def _times(link: float) -> tuple[float, SimulatedDevice]:
    """Seconds of three passes whose blocks take 1 ms to compute each, by the device's clocks."""
    where, device = pool(
        SimulatedRates(matrix=2 * 4 * WIDTH * WIDTH / 1e-3, memory=1e15, link=link)
    )
    run(where, device, placed(Residency.STREAMED))
    return max(entry.end for entry in device.log), device


def test_a_fast_link_hides_behind_the_work_and_a_slow_one_sets_the_pace() -> None:
    compute = 3 * COUNT * 1e-3
    fast, device = _times(link=BLOCK / 0.5e-3)
    assert fast <= compute + 2e-3  # the first copy, and what is copied at the ends
    copies = [e for e in device.log if e.queue != "main" and e.what == "to device"]
    work = [e for e in device.log if e.queue == "main" and e.what == "mm"]
    hidden = sum(any(w.start < c.end and c.start < w.end for w in work) for c in copies)
    assert hidden >= len(copies) - SLOTS
    slow, _ = _times(link=BLOCK / 2e-3)
    assert 2 * compute <= slow <= 2 * compute + 8e-3


def test_no_slot_is_written_while_it_is_computed_with() -> None:
    _, device = _times(link=BLOCK / 0.1e-3)
    work = [e for e in device.log if e.what == "mm"]
    copies = [e for e in device.log if e.queue != "main" and e.what == "to device"]
    for number, copy in enumerate(copies[SLOTS:], start=SLOTS):
        assert copy.start >= work[number - SLOTS].end - 1e-12


def test_blocks_of_different_shapes_are_refused_and_nothing_is_left() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = Blocks([Linear(4, 4), Linear(4, 8)])

    device = SimulatedDevice(GIB)
    where = Pool(device, {"net": Odd})
    with pytest.raises(ValueError, match="different shapes"), device.inside():
        where.lease(placed(Residency.STREAMED))
    assert device.memory_allocated() == 0 and where.on_device == frozenset()


def test_no_block_is_computed_with_before_its_copy_has_come() -> None:
    _, device = _times(link=BLOCK / 3e-3)  # three times as long as the work
    work = [e for e in device.log if e.what == "mm"]
    copies = [e for e in device.log if e.queue != "main" and e.what == "to device"]
    assert len(work) == 3 * COUNT
    for number, product in enumerate(work):
        assert product.start >= copies[number].end - 1e-12


def test_an_error_forgotten_late_leaves_the_part_where_it_is_by_then() -> None:
    where, device = pool()
    kept = []
    with device.inside(), torch.inference_mode():
        network = where.lease(placed(Residency.STREAMED)).of("net", Network)
        passing = network.layers.through()
        next(passing), next(passing)
        kept.append(passing)  # as the frames of an error hold it
        where.give_back(placed(Residency.STREAMED))
        assert device.memory_allocated() == 0
        where.lease(placed(Residency.RESIDENT))
        kept.clear()
        assert {block.weight.device.type for block in network.layers} == {"simulated"}
        where.give_back(placed(Residency.RESIDENT))


def test_a_cancelled_stage_leaves_nothing_even_where_its_error_is_kept() -> None:
    where, device = pool()
    placement, stage = placed(Residency.STREAMED)[0], StagePlan("work", ("net",), 1, None, 0, 0.0)
    made = Run(Plan((placement,), (stage,), GIB), where, device)

    def work(step: Step, parts: Parts) -> None:
        x = torch.ones(4, WIDTH).to(step.device)
        for number, block in enumerate(parts.of("net", Network).layers.through()):
            x = block(x)
            if number == 2:
                raise Cancelled("")

    with pytest.raises(Cancelled) as kept:
        made.stage("work", work)
    where.check_integrity()
    assert device.memory_allocated() == 0 and kept.value is not None
