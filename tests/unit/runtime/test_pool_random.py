"""A pool under random operations, and under threads: the book balances after each of them."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from headroom.device.simulated import SimulatedDevice
from headroom.memory.plan import Placement, Residency
from headroom.nn.blocks import Blocks
from headroom.nn.linear import Linear
from headroom.runtime.idle import IdleWatch
from headroom.runtime.pool import Pool, State
from headroom.units import MIB

NAMES = ("a", "b", "c", "d")
PLACES = (Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED, Residency.HOST)
IDLE = 10.0


class Part(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = Blocks(Linear(width, width) for _ in range(4))
        self.table = nn.Parameter(torch.zeros(width), requires_grad=False)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(cap: int = 64 * MIB) -> tuple[Pool, SimulatedDevice, Clock]:
    device, clock = SimulatedDevice(cap), Clock()
    loaders = {name: (lambda n=i: Part(8 * (n + 1))) for i, name in enumerate(NAMES)}
    return Pool(device, loaders, clock), device, clock


class Driver:
    """Random operations from a seed, each followed by the same questions."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.pool, self.device, self.clock = made()
        self.held: list[list[Placement]] = []

    def lease(self) -> None:
        names = self.rng.sample(NAMES, self.rng.randint(1, 3))
        wanted = [
            Placement(n, self.rng.choice(PLACES), "float32", 0, self.rng.randint(0, 1))
            for n in names
        ]
        if self.rng.random() < 0.2:
            self.device.fail_at = self.device.allocations + self.rng.randint(1, 12)
        try:
            with self.device.inside():
                self.pool.lease(wanted)
            self.held.append(wanted)
        except torch.OutOfMemoryError:
            pass
        finally:
            self.device.fail_at = None

    def give_back(self) -> None:
        if self.held:
            self.pool.give_back(self.held.pop(self.rng.randrange(len(self.held))))

    def offload(self) -> None:
        self.pool.offload(self.rng.choice((None, *NAMES)))

    def release(self) -> None:
        self.pool.release(self.rng.choice((None, *NAMES)))

    def expire(self) -> None:
        self.clock.now += self.rng.choice((1.0, IDLE))
        gone = self.pool.expire(IDLE)
        assert not set(gone) & {p.component for wanted in self.held for p in wanted}

    def step(self) -> None:
        getattr(
            self, self.rng.choice(("lease", "lease", "give_back", "offload", "release", "expire"))
        )()
        self.check()

    def check(self) -> None:
        owned = self.pool.ledger.bytes()
        assert owned == self.device.memory_allocated(), (owned, self.device.memory_allocated())
        leases = dict.fromkeys(NAMES, 0)
        for wanted in self.held:
            for placement in wanted:
                leases[placement.component] += 1
        for status in self.pool.status():
            assert status.leases == leases[status.name]
            assert (status.device_bytes == 0) == (status.state in (State.HOST, State.ABSENT))

    def finish(self) -> None:
        while self.held:
            self.give_back()
        self.pool.release()
        assert self.device.memory_allocated() == 0 and self.pool.loaded == frozenset()


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_keep_the_book(seed: int) -> None:
    driver = Driver(seed)
    for _ in range(400):
        driver.step()
    driver.finish()


def test_a_part_asked_to_leave_while_leased_leaves_when_it_is_given_back() -> None:
    pool, device, _ = made()
    resident = [Placement("a", Residency.RESIDENT, "float32", 0)]
    with device.inside():
        pool.lease(resident)
    pool.offload("a")
    assert device.memory_allocated() > 0
    pool.give_back(resident)
    assert device.memory_allocated() == 0 and pool.loaded == {"a"}
    with device.inside():
        pool.lease(resident)
    pool.release()
    assert pool.loaded == {"a"}
    pool.give_back(resident)
    assert pool.loaded == frozenset() and device.memory_allocated() == 0


def test_idle_parts_leave_on_the_clock_and_not_before() -> None:
    pool, device, clock = made()
    resident = [Placement("a", Residency.RESIDENT, "float32", 0)]
    with device.inside():
        pool.lease(resident)
        pool.give_back(resident)
    clock.now = IDLE - 0.1
    assert pool.expire(IDLE) == ()
    clock.now = IDLE
    assert pool.expire(IDLE) == ("a",)
    assert device.memory_allocated() == 0


def test_a_mismatch_is_seen() -> None:
    from headroom.errors import LedgerMismatch

    pool, device, _ = made()
    with device.inside():
        stray = torch.zeros(10, device=device.torch)
    with pytest.raises(LedgerMismatch, match=r"\+40 belong to nobody"):
        pool.check_integrity()
    del stray
    pool.check_integrity()


def test_eight_threads_share_a_pool() -> None:
    pool, device, _ = made()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(40):
            name = rng.choice(NAMES)
            wanted = [Placement(name, Residency.RESIDENT, "float32", 0)]
            with device.inside():
                part = pool.lease(wanted).of(name, Part)
                assert part.table.device.type == "simulated"
                pool.status()
                pool.give_back(wanted)
            if rng.random() < 0.3:
                pool.offload(name)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, number) for number in range(8)]:
            done.result(timeout=60)
    pool.check_integrity()
    pool.release()
    assert device.memory_allocated() == 0


def test_a_watch_takes_idle_parts_off_within_a_second() -> None:
    device = SimulatedDevice(64 * MIB)
    pool = Pool(device, {"a": lambda: Part(8)})
    resident = [Placement("a", Residency.RESIDENT, "float32", 0)]
    watch = IdleWatch(pool, 0.05)
    try:
        with device.inside():
            pool.lease(resident)
            time.sleep(0.2)
            assert device.memory_allocated() > 0  # leased, so not idle
            pool.give_back(resident)
        until = time.monotonic() + 1
        while device.memory_allocated() and time.monotonic() < until:
            time.sleep(0.01)
        assert device.memory_allocated() == 0
    finally:
        watch.close()
