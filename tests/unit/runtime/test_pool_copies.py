"""A part that comes back to the device is copied there once, byte for byte, and never back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from headroom.device.simulated import SimulatedDevice, SimulatedRates
from headroom.memory.plan import SLOTS, Placement, Residency
from headroom.runtime.entry import State
from headroom.runtime.pool import Pool
from headroom.units import MIB
from support.pool_driver import Clock
from support.pool_model import BLOCKS, IDLE, Pair, Part, part_of, placed, result_of

NAME = "c"
Bytes = Counter[int]  # how often the byte at each address of the host was copied


class Watched(SimulatedDevice):
    """A card that knows which bytes of the host came to it."""

    def __init__(self) -> None:
        super().__init__(MIB, rates=SimulatedRates(matrix=1e9, memory=1e9, link=1e9))
        self.came: Bytes = Counter()

    def moved(self, tensor: Tensor, to_device: bool) -> None:
        super().moved(tensor, to_device)
        if to_device:
            self.came.update(addresses(tensor))

    def forget(self) -> None:
        """Begin to count anew."""
        self.log.clear()
        self.came.clear()
        self.bytes_to_device = self.bytes_to_host = 0


class Case:
    """A pool of one part on such a card, and a virtual clock."""

    def __init__(self) -> None:
        self.device, self.clock, self.loads = Watched(), Clock(), 0
        self.part = part_of(NAME)
        self.pool = Pool(self.device, {NAME: self._load}, self.clock)

    def _load(self) -> Part:
        self.loads += 1
        return self.part

    def lease(self, how: list[Placement]) -> None:
        with self.device.inside(), torch.inference_mode():
            assert self.pool.lease(how)[NAME] is self.part

    def left_passing(self, kept: int) -> None:
        """Leased as resident while it passes: it stays as it is, and stays when given back."""
        streamed, resident = at(Residency.STREAMED, kept=kept), at(Residency.RESIDENT)
        self.lease(streamed)
        self.lease(resident)
        self.pool.give_back(streamed)
        self.pool.give_back(resident)
        assert self.pool.status()[0].state is State.PASSING

    def computes(self) -> Tensor:
        with self.device.inside(), torch.inference_mode():
            result: Tensor = self.part()
        return result


def divided(part: Part, kept: int) -> tuple[list[Tensor], list[Tensor]]:
    """Its tensors on the host: those that are there all the time, and those that pass through."""
    blocks = [[b.low.weight, b.high.weight] for b in part.layers if isinstance(b, Pair)]
    stays: list[Tensor] = [*(weight for block in blocks[:kept] for weight in block), part.table]
    return stays, [weight for block in blocks[kept:] for weight in block]


def addresses(tensor: Tensor) -> range:
    """Of the bytes of a tensor on the host."""
    return range(tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes)


def once(tensors: Sequence[Tensor]) -> Bytes:
    """Every byte of these, once."""
    return Counter(address for tensor in tensors for address in addresses(tensor))


def at(residency: Residency, precision: str = "float32", kept: int = 0) -> list[Placement]:
    return [placed(NAME, residency, precision, kept)]


def expired(case: Case) -> None:
    case.clock.now += IDLE
    assert case.pool.expire(IDLE) == (NAME,)


WAYS: dict[str, Callable[[Case], None]] = {
    "offloaded": lambda case: case.pool.offload(NAME),
    "offloaded with all others": lambda case: case.pool.offload(),
    "expired": expired,
    "made room for others": lambda case: case.pool.make_room(()),
}


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
@pytest.mark.parametrize("way", WAYS)
def test_what_left_comes_back_with_each_byte_copied_once(way: str, precision: str) -> None:
    case, resident = Case(), at(Residency.RESIDENT, precision)
    case.lease(resident)
    case.pool.give_back(resident)
    case.device.forget()
    WAYS[way](case)
    assert case.device.memory_allocated() == 0
    assert case.device.log == [] and not case.device.came  # what leaves is dropped, not copied
    host = list(case.part.parameters())
    assert {tensor.device.type for tensor in host} == {"cpu"}
    case.lease(resident)
    assert case.device.came == once(host)
    copies = [entry.bytes for entry in case.device.log if entry.what == "to device"]
    assert sum(copies) == case.device.bytes_to_device == sum(tensor.nbytes for tensor in host)
    assert case.device.bytes_to_host == 0 and "to host" not in {e.what for e in case.device.log}
    assert case.device.memory_allocated() == case.pool.bytes(NAME) == sum(copies)
    assert case.loads == 1
    precise = None if precision == "float32" else precision
    assert torch.equal(case.computes(), result_of(NAME, precise))


def test_what_is_swapped_is_copied_once_a_lease() -> None:
    case, swapped = Case(), at(Residency.SWAPPED)
    host = list(case.part.parameters())
    for _ in range(3):
        case.device.forget()
        case.lease(swapped)
        assert case.device.came == once(host)
        case.pool.give_back(swapped)
        assert case.device.came == once(host) and case.device.bytes_to_host == 0


def test_what_is_there_already_is_not_copied_again() -> None:
    case, resident = Case(), at(Residency.RESIDENT)
    case.lease(resident)
    case.pool.give_back(resident)
    case.device.forget()
    for how in (resident, resident, at(Residency.SWAPPED)):
        case.lease(how)
    assert not case.device.came and case.device.log == []


@pytest.mark.parametrize("kept", range(BLOCKS))
def test_what_streams_comes_block_by_block_and_once_a_pass(kept: int) -> None:
    case, streamed = Case(), at(Residency.STREAMED, kept=kept)
    stays, passing = divided(case.part, kept)
    case.left_passing(kept)
    expired(case)
    case.device.forget()
    case.lease(streamed)
    assert case.device.came == once(stays)
    case.device.forget()
    result = case.computes()  # its input is copied too
    assert not once(stays) & case.device.came
    ahead = (once(passing) + once(passing)) & case.device.came
    ahead.subtract(once(passing))  # what is there for the pass after this one
    assert set(ahead.values()) <= {0, 1} and set(ahead) == set(once(passing))
    assert ahead.total() <= SLOTS * sum(weight.nbytes for weight in passing) // (BLOCKS - kept)
    assert max(case.device.came[address] for address in once(passing)) <= 2
    assert torch.equal(result, result_of(NAME, None))
    assert case.device.bytes_to_host == result.nbytes


@pytest.mark.parametrize("kept", range(BLOCKS))
def test_what_passes_is_brought_anew_only_where_other_blocks_are_to_stay(kept: int) -> None:
    case = Case()
    stays, _ = divided(case.part, kept)
    case.left_passing(1)
    case.device.forget()
    case.lease(at(Residency.STREAMED, kept=kept))
    assert case.device.came == once([] if kept == 1 else stays)


def test_what_a_refused_allocation_left_half_copied_comes_whole_the_next_time() -> None:
    case, streamed = Case(), at(Residency.STREAMED, kept=1)
    host = list(case.part.parameters())
    case.device.fail_at = 2
    with pytest.raises(torch.OutOfMemoryError):
        case.lease(streamed)
    case.device.fail_at = None
    assert case.device.memory_allocated() == 0 and case.device.bytes_to_host == 0
    case.device.forget()
    case.lease(at(Residency.RESIDENT))
    assert case.device.came == once(host) and case.loads == 1
