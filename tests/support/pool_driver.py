"""A pool on a simulated card under random operations, and what must hold after each of them.

`Rig` does each operation on the pool and on its model and compares them; `Driver` draws the
operations from a seed. A fault is an AssertionError or a LedgerMismatch.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from headroom.device.simulated import SimulatedDevice
from headroom.errors import Cancelled
from headroom.memory.plan import Placement, Residency
from headroom.runtime.entry import State
from headroom.runtime.pool import Parts, Pool
from headroom.units import MIB
from support.pool_model import (
    BLOCKS,
    IDLE,
    NAMES,
    PRECISIONS,
    ROOM,
    Known,
    Model,
    Move,
    Pair,
    Part,
    part_of,
    placed,
    result_of,
)


class Clock:
    """Goes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(cap: int = 64 * MIB) -> tuple[Pool, SimulatedDevice, Clock]:
    """A pool of the four parts on a card of so many bytes."""
    device, clock = SimulatedDevice(cap), Clock()
    return Pool(device, {name: partial(part_of, name) for name in NAMES}, clock), device, clock


@dataclass(frozen=True, eq=False)
class Lease:
    """What was leased, and the parts that came."""

    wanted: tuple[Placement, ...]
    parts: Parts


class Rig:
    """A pool and its model. `out_of_memory` counts refusals: told, for want of room, in work."""

    def __init__(self, room: int = ROOM) -> None:
        self.device, self.clock, self.model = SimulatedDevice(room), Clock(), Model()
        self.pool = Pool(self.device, {name: self._loads(name) for name in NAMES}, self.clock)
        self.loaded: dict[str, Part] = {}  # the last of each name
        self.loads: Counter[str] = Counter()
        self.held: list[Lease] = []
        self.out_of_memory: Counter[str] = Counter()
        self.computed = self.balanced = 0
        self._crossed = (0, 0)  # bytes to the device, and to the host

    def _loads(self, name: str) -> Callable[[], Part]:
        def load() -> Part:
            self.loads[name] += 1
            self.loaded[name] = part_of(name)
            return self.loaded[name]

        return load

    # --- operations --------------------------------------------------------------------

    def lease(
        self, wanted: Sequence[Placement], refuse: int | None = None, cap: int = ROOM
    ) -> Lease | None:
        """None where memory ran out: at the allocation of number `refuse`, or beyond the cap."""
        expected, least, most = self.model.lease(wanted, cap, refuse)
        before, got = self.device.bytes_to_device, None
        self.device.set_cap(cap)
        self._refuse(refuse)
        try:
            with self.device.inside(), torch.inference_mode():
                got = Lease(tuple(wanted), self.pool.lease(wanted))
            self.held.append(got)
        except torch.OutOfMemoryError as error:
            self.out_of_memory["told" if "told" in str(error) else "room"] += 1
        self.device.set_cap(None)
        self._refuse(None)
        assert (got is not None) == expected, f"leased: {got is not None}, expected: {expected}"
        copied = self.device.bytes_to_device - before
        assert least <= copied <= most, f"{copied} bytes were copied, not {least} to {most}"
        self._crossed = self._crossed[0] + copied, self._crossed[1]
        return got

    def give_back(self, lease: Lease) -> None:
        """End a lease."""
        self.held.remove(lease)
        self.model.give_back(lease.wanted)
        self.pool.give_back(lease.wanted)

    def use(
        self,
        wanted: Sequence[Placement],
        stop_after: int | None = None,
        refuse: int | None = None,
        residents: Sequence[str] = (),
    ) -> None:
        """As a Run does: make room, lease, compute with each part, give back whatever happens.

        Cancelled after so many blocks; or an allocation is refused in the middle of the work.
        """
        self.move("make_room", residents)
        lease = self.lease(wanted)
        if lease is None:
            return
        self.check()
        try:
            self._refuse(refuse)
            for placement in wanted:
                self.compute(lease, placement.component, stop_after)
            assert stop_after is None
        except Cancelled:
            assert stop_after is not None
        except torch.OutOfMemoryError:
            self.out_of_memory["work"] += 1
        finally:
            self._refuse(None)
            self._crossed = self.device.bytes_to_device, self.device.bytes_to_host
            self.give_back(lease)

    def compute(self, lease: Lease, name: str, stop_after: int | None = None) -> None:
        """Compare what a leased part computes, to the bit."""
        with self.device.inside(), torch.inference_mode():
            result = lease.parts.of(name, Part)(stop_after)
        assert torch.equal(result, result_of(name, self.model.parts[name].precision)), name
        self.computed += 1

    def move(self, how: Move, names: Sequence[str]) -> None:
        """`make_room` for all but these; or `offload` or `release` them, one or all."""
        self.model.move(how, names)
        if how == "make_room":
            self.pool.make_room(names)
        else:
            getattr(self.pool, how)(None if len(names) > 1 else names[0])

    def expire(self, seconds: float) -> None:
        """Let so much time pass, and what has been idle go."""
        self.clock.now = self.model.now = self.clock.now + seconds
        expected, gone = self.model.expire(), self.pool.expire(IDLE)
        assert len(gone) == len(expected) and set(gone) == expected, (gone, expected)

    def finish(self) -> None:
        """Give everything back and release it: nothing is left."""
        for lease in tuple(self.held):
            self.give_back(lease)
            self.check()
        self.move("release", NAMES)
        self.check()
        assert self.device.memory_allocated() == 0 and self.pool.loaded == frozenset()

    def _refuse(self, number: int | None) -> None:
        self.device.fail_at = None if number is None else self.device.allocations + number

    # --- what must hold ----------------------------------------------------------------

    def check(self) -> None:
        """The pool, its book and the device against the model."""
        owned, allocated = self.pool.ledger.bytes(), self.device.memory_allocated()
        assert owned == allocated == self.model.bytes, (owned, allocated, self.model.bytes)
        for status in self.pool.status():
            assert status == self.model.status(status.name)
        assert self.pool.loaded == set(self.model.parts)
        assert self.pool.on_device == {n for n, p in self.model.parts.items() if p.bytes}
        assert self.loads == self.model.loads
        assert (self.device.bytes_to_device, self.device.bytes_to_host) == self._crossed
        for name, known in self.model.parts.items():
            _check_places(self.loaded[name], known)
        self.pool.check_integrity()
        self.balanced += not self.held


def _check_places(part: Part, known: Known) -> None:
    """Every tensor is where the state of its part says, and only what passes has a ring."""
    there = known.state is not State.HOST
    assert (part.layers.passage is not None) == (known.state is State.PASSING)
    assert part.again is part.table and (part.table.device.type == "simulated") == there
    for number, block in enumerate(part.layers):
        assert isinstance(block, Pair)
        here = there and (known.state is State.DEVICE or number < known.kept)
        assert (block.both is not None) == here
        for linear in (block.low, block.high):
            assert (linear.weight.device.type == "simulated") == here


OFTEN = ("lease", "use", "give_back", "give_back", "cancel", "expire")
KINDS = (*OFTEN * 2, "refused", "beyond", "failing", "make_room", "offload", "release")
MOST = 3  # leases at a time


class Driver(Rig):
    """Random operations from a seed, each followed by the same questions."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.done: Counter[str] = Counter()  # operations by kind

    def step(self) -> None:
        """One operation, and the questions."""
        kind = self.rng.choice(KINDS)
        if kind in ("lease", "refused", "beyond") and len(self.held) >= MOST:
            kind = "give_back"
        if kind == "give_back" and not self.held:
            kind = "lease"
        self._do(kind)
        self.done[kind] += 1
        self.check()

    def _do(self, kind: str) -> None:
        rng = self.rng
        residents = rng.sample(NAMES, rng.randint(0, 4))
        match kind:
            case "lease":
                self.lease(self._wanted())
            case "refused":
                self.lease(self._wanted(), refuse=rng.choice((1, 1, 2, 3)))
            case "beyond":
                self.lease(self._wanted(), cap=rng.randrange(ROOM))
            case "give_back":
                self.give_back(rng.choice(self.held))
            case "use":
                self.use(self._wanted(), residents=residents)
            case "cancel":
                self.use(self._wanted(), rng.randrange(BLOCKS), residents=residents)
            case "failing":
                self.use(self._wanted(), refuse=rng.randint(1, 30), residents=residents)
            case "expire":
                self.expire(rng.choice((1.0, IDLE / 2, IDLE)))
            case "make_room":
                self.move("make_room", residents)
            case "offload" | "release":
                self.move(kind, rng.choice((NAMES, *((name,) for name in NAMES))))

    def _wanted(self) -> list[Placement]:
        """Up to three parts; half the time one that is on the device, so that leases meet there."""
        rng, here = self.rng, sorted(self.pool.on_device)
        names = rng.sample(NAMES, rng.choice((1, 1, 2, 2, 3)))
        if here and rng.random() < 0.5:
            names = [rng.choice(here)]
        places = (*Residency, Residency.RESIDENT, Residency.STREAMED)
        precisions = (*PRECISIONS, "float32", "float32")
        return [
            placed(name, rng.choice(places), rng.choice(precisions), rng.randrange(BLOCKS))
            for name in names
        ]
