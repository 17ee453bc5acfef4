"""A pool under random operations, and under threads: the book balances after each of them."""

from __future__ import annotations

import faulthandler
import random
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from headroom.device.simulated import SimulatedDevice
from headroom.errors import Cancelled, LedgerMismatch
from headroom.memory.plan import Residency
from headroom.runtime.idle import IdleWatch
from headroom.runtime.pool import Pool
from headroom.units import MIB
from support.pool_driver import Clock, Driver, made
from support.pool_model import BLOCKS, IDLE, NAMES, Part, part_of, placed, result_of

RESIDENT = [placed("a", Residency.RESIDENT)]
SHARED = tuple(name + number for name in NAMES for number in "0123")  # by the threads
ENDED = 60.0  # seconds after which threads that are still at it are in a deadlock


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_keep_the_book(seed: int) -> None:
    driver = Driver(seed)
    for _ in range(250):
        driver.step()
    driver.finish()
    assert driver.out_of_memory.total() > 5 and driver.computed > 20 and driver.balanced > 20


def test_a_part_asked_to_leave_while_leased_leaves_when_it_is_given_back() -> None:
    pool, device, _ = made()
    with device.inside():
        pool.lease(RESIDENT)
    pool.offload("a")
    assert device.memory_allocated() > 0
    pool.give_back(RESIDENT)
    assert device.memory_allocated() == 0 and pool.loaded == {"a"}
    with device.inside():
        pool.lease(RESIDENT)
    pool.release()
    assert pool.loaded == {"a"}
    pool.give_back(RESIDENT)
    assert pool.loaded == frozenset() and device.memory_allocated() == 0


def test_idle_parts_leave_on_the_clock_and_not_before() -> None:
    pool, device, clock = made()
    with device.inside():
        pool.lease(RESIDENT)
        pool.give_back(RESIDENT)
    clock.now = IDLE - 0.1
    assert pool.expire(IDLE) == ()
    clock.now = IDLE
    assert pool.expire(IDLE) == ("a",)
    assert device.memory_allocated() == 0


def test_a_mismatch_is_seen() -> None:
    pool, device, _ = made()
    with device.inside():
        stray = torch.zeros(10, device=device.torch)
    with pytest.raises(LedgerMismatch, match=r"\+40 belong to nobody"):
        pool.check_integrity()
    del stray
    pool.check_integrity()


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns a hundred times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 100)
    yield
    sys.setswitchinterval(before)


class Worker(threading.Thread):
    """Random operations on a pool that others use too. `fault` is what stopped it, if anything."""

    def __init__(
        self, pool: Pool, device: SimulatedDevice, seed: int, turns: dict[str, threading.Lock]
    ) -> None:
        super().__init__(daemon=True)
        self.pool, self.device, self.turns = pool, device, turns
        self.rng = random.Random(seed)
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            for _ in range(40):
                self.step()
                self.pool.check_integrity()
        except BaseException as fault:  # noqa: BLE001 - raised where the threads were begun
            self.fault = fault

    def step(self) -> None:
        one = self.rng.choice((None, *SHARED, *SHARED))
        others = ("offload", "release", "expire", "make_room")
        match self.rng.choice((*("use",) * 4, *others)):
            case "use":
                self.use()
            case "offload":
                self.pool.offload(one)
            case "release":
                self.pool.release(one)
            case "expire":
                self.pool.expire(0.001)
            case "make_room":
                self.pool.make_room(self.rng.sample(SHARED, 12))

    def use(self) -> None:
        """Compute with parts wherever they are; one at a time with each, as an engine does."""
        names = self.rng.sample(SHARED, self.rng.choice((1, 1, 2)))
        places = (*Residency, Residency.RESIDENT)
        wanted = [placed(name, self.rng.choice(places)) for name in names]
        stop_after = self.rng.choice((None, self.rng.randrange(BLOCKS)))
        with self.device.inside(), torch.inference_mode():
            parts = self.pool.lease(wanted)
            try:
                for name in names:
                    with self.turns[name]:
                        result = parts.of(name, Part)(stop_after)
                    assert torch.equal(result, result_of(name[0], None))
                assert all(s.leases for s in self.pool.status() if s.name in names)
            except Cancelled:
                assert stop_after is not None
            finally:
                self.pool.give_back(wanted)


@pytest.mark.ci
def test_eight_threads_share_a_pool(hurried: None) -> None:
    device = SimulatedDevice(64 * MIB)
    pool = Pool(device, {name: partial(part_of, name[0]) for name in SHARED})
    turns = {name: threading.Lock() for name in SHARED}
    workers = [Worker(pool, device, number, turns) for number in range(8)]
    until = time.monotonic() + ENDED
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
    stuck = sum(worker.is_alive() for worker in workers)
    if stuck:
        faulthandler.dump_traceback()
    assert not stuck, f"{stuck} threads have not ended"
    for worker in workers:
        if worker.fault is not None:
            raise worker.fault
    assert all(status.leases == 0 for status in pool.status())
    pool.check_integrity()
    pool.release()
    assert device.memory_allocated() == 0 and pool.loaded == frozenset()


@pytest.mark.parametrize("first", [Residency.RESIDENT, Residency.STREAMED])
def test_a_watch_takes_idle_parts_off_and_no_leased_ones(first: Residency) -> None:
    device, clock = SimulatedDevice(64 * MIB), Clock()
    pool = Pool(device, {"a": lambda: Part(8)}, clock)
    beside = [placed("a", first)]  # whole, or blocks that pass: it stays as the first one had it
    looks = threading.Semaphore(0)
    watch = IdleWatch(pool, 0.05, looks.release)

    def looked() -> None:
        """The watch has looked once since this was called."""
        while looks.acquire(blocking=False):
            pass
        for _ in range(2):  # the first may have begun before
            assert looks.acquire(timeout=ENDED)

    try:
        with device.inside():
            pool.lease(beside)
            pool.lease(RESIDENT)
            pool.give_back(beside)
            clock.now += 60
            looked()
            assert device.memory_allocated() > 0  # leased, so not idle
            pool.give_back(RESIDENT)
        looked()
        assert device.memory_allocated() > 0
        clock.now += 60
        looked()
        looked()  # the look before it has ended
        assert device.memory_allocated() == 0
    finally:
        watch.close()
