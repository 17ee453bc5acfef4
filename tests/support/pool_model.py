"""What a pool is to do, said a second time without a tensor, and the parts it is asked for.

Written from the words of `headroom.runtime.pool`, so that what the two agree on is not a mistake
made twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from headroom.device.simulated import SimulatedDevice
from headroom.errors import Cancelled
from headroom.memory.plan import SLOTS, Placement, Residency
from headroom.nn.blocks import Blocks
from headroom.nn.linear import Linear, product
from headroom.runtime.entry import State
from headroom.runtime.pool import PartStatus, Pool
from headroom.runtime.quantize import quantize
from headroom.units import MIB

WIDTHS = {"a": 8, "b": 16, "c": 24, "d": 32}
RELEASED = {"a": torch.float32, "b": torch.bfloat16, "c": torch.float32, "d": torch.bfloat16}
NAMES = tuple(WIDTHS)
PRECISIONS = ("float32", "bfloat16", "int8", "int4")
BLOCKS = 4
IDLE = 10.0  # seconds
ROOM = 18_000  # bytes: enough for each part, and not for all of them
Move = Literal["make_room", "offload", "release"]


class Pair(nn.Module):
    """A product in two halves, computed as one where their matrices are joined."""

    joined: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"both": ("low.weight", "high.weight"), "both_scale": ("low.scale", "high.scale")}
    )
    both: nn.Parameter | None
    both_scale: nn.Parameter | None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.low, self.high = Linear(width, width // 2), Linear(width, width // 2)
        self.register_parameter("both", None)
        self.register_parameter("both_scale", None)

    def forward(self, x: Tensor) -> Tensor:
        if self.both is None:
            return torch.cat((self.low(x), self.high(x)), -1)
        return product(x, self.both, self.both_scale)


class Part(nn.Module):
    """Blocks, and a vector that stands in two places.

    It computes with rows of the unit matrix. No sum has two terms that are not zero: the result is
    the same to the bit however a kernel orders its sums, and tells the blocks and their order.
    """

    def __init__(self, width: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.layers = Blocks(Pair(width) for _ in range(BLOCKS))
        self.table = nn.Parameter(torch.randn(width), requires_grad=False)
        self.again = self.table
        self.to(dtype)

    def forward(self, stop_after: int | None = None) -> Tensor:
        """[8, width]. Raises Cancelled once so many blocks are done."""
        width = len(self.table)
        x = torch.eye(width, dtype=self.table.dtype)[:: width // 8].to(self.table.device)
        y = x * self.table
        for done, block in enumerate(self.layers.through()):
            if done == stop_after:
                raise Cancelled(f"stopped after {done} blocks")
            y = y + y + block(x)
        return (y + self.again).cpu()


@cache
def _drawn(name: str) -> Part:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(WIDTHS[name])
        return Part(WIDTHS[name], RELEASED[name])


def part_of(name: str) -> Part:
    """A part: the same values every time, and others than those of any other name."""
    return deepcopy(_drawn(name))


def converted(precision: str) -> str | None:
    """None: the weights are as they were released."""
    return precision if precision in ("int8", "int4") else None


@cache
def result_of(name: str, precision: str | None) -> Tensor:
    """What a part computes, by one that no pool ever held."""
    part = part_of(name)
    if precision is not None:
        quantize(part, precision)
    with torch.inference_mode():
        result: Tensor = part()
    return result


def bytes_of(name: str, precision: str | None, placement: Placement) -> tuple[int, int]:
    """Bytes that are copied to the device on arrival, and those of the slots of a ring."""
    width, item = WIDTHS[name], RELEASED[name].itemsize
    matrix, scale = {
        None: (width * width * item, 0),
        "int8": (width * width, width * item),  # the scales, a vector, are there all the time
        "int4": (width * width // 2 + width * item, 0),
    }[precision]
    passing = BLOCKS - placement.kept if placement.residency is Residency.STREAMED else 0
    stays = width * item + BLOCKS * scale + (BLOCKS - passing) * matrix
    return stays, min(SLOTS, passing) * matrix


@cache
def allocations_of(precision: str | None, residency: Residency, kept: int) -> int:
    """How many allocations bring a part to the device. The pool decides; it is asked once."""
    device = SimulatedDevice(MIB)
    with device.inside(), torch.inference_mode():
        pool = Pool(device, {"a": lambda: part_of("a")})
        pool.lease([Placement("a", residency, precision or "float32", 0, kept)])
    return device.allocations


@dataclass
class Known:
    """What is known of a part that is loaded."""

    precision: str | None
    used: float
    state: State = State.HOST
    kept: int = 0
    bytes: int = 0
    leases: int = 0
    leaving: bool = False
    forgotten: bool = False

    def leave(self) -> None:
        self.state, self.bytes, self.leaving = State.HOST, 0, False


@dataclass
class Model:
    """What a pool is to do. `now` in seconds, `loads` by name."""

    parts: dict[str, Known] = field(default_factory=dict)
    loads: Counter[str] = field(default_factory=Counter)
    now: float = 0.0

    @property
    def bytes(self) -> int:
        """On the device."""
        return sum(part.bytes for part in self.parts.values())

    def lease(
        self, wanted: Sequence[Placement], room: int, refuse: int | None
    ) -> tuple[bool, int, int]:
        """Whether all can be had; the bytes copied at least and at most.

        The device has `room` bytes, and refuses the allocation of number `refuse` (from 1).
        """
        copied, left = 0, refuse or 1 << 30
        for number, placement in enumerate(wanted):
            part = self._loaded(placement)
            arrives = part.leases == 0 and not _is_as(part, placement)
            if arrives:
                part.leave()
            if arrives and placement.residency is not Residency.HOST:
                name, precision = placement.component, part.precision
                stays, ring = bytes_of(name, precision, placement)
                left -= (count := allocations_of(precision, placement.residency, placement.kept))
                if left <= 0 or self.bytes + stays + ring > room:
                    assert count > 0
                    self.give_back(wanted[:number][::-1])
                    return False, copied, copied + stays
                streamed = placement.residency is Residency.STREAMED
                part.state = State.PASSING if streamed else State.DEVICE
                part.kept, part.bytes, copied = placement.kept, stays + ring, copied + stays
            part.leases, part.used = part.leases + 1, self.now
        return True, copied, copied

    def give_back(self, placements: Sequence[Placement]) -> None:
        for placement in placements:
            part = self.parts[placement.component]
            part.leases, part.used = part.leases - 1, self.now
            if part.leases:
                continue
            if part.leaving or placement.residency is not Residency.RESIDENT:
                part.leave()
            if part.forgotten:
                del self.parts[placement.component]

    def move(self, how: Move, names: Sequence[str]) -> None:
        """Make room for all but these, or take these away."""
        for name, part in tuple(self.parts.items()):
            if how == "make_room":
                if name not in names and not part.leases:
                    part.leave()
            elif name in names and part.leases:
                part.leaving, part.forgotten = True, part.forgotten or how == "release"
            elif name in names and how == "offload":
                part.leave()
            elif name in names:
                del self.parts[name]

    def expire(self) -> set[str]:
        idle = {n for n, p in self.parts.items() if not p.leases and self.now - p.used >= IDLE}
        gone = {name for name in idle if self.parts[name].bytes}
        for name in gone:
            self.parts[name].leave()
        return gone

    def status(self, name: str) -> PartStatus:
        part = self.parts.get(name)
        if part is None:
            return PartStatus(name, State.ABSENT, 0, 0, None)
        idle = None if part.leases else self.now - part.used
        return PartStatus(name, part.state, part.bytes, part.leases, idle)

    def _loaded(self, placement: Placement) -> Known:
        """The part; loaded anew where it is in another precision and nobody leases it."""
        name, precision = placement.component, converted(placement.precision)
        part = self.parts.get(name)
        if part is None or (part.precision != precision and not part.leases):
            part = self.parts[name] = Known(precision, self.now)
            self.loads[name] += 1
        return part


def _is_as(part: Known, placement: Placement) -> bool:
    match placement.residency:
        case Residency.HOST:
            return part.state is State.HOST
        case Residency.STREAMED:
            return part.state is State.PASSING and part.kept == placement.kept
    return part.state is State.DEVICE


def placed(name: str, residency: Residency, precision: str = "float32", kept: int = 0) -> Placement:
    """A placement; `kept` counts for what is streamed only."""
    return Placement(name, residency, precision, 0, kept if residency is Residency.STREAMED else 0)
