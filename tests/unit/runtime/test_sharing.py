"""Engines that share a simulated card: leases, turns, and idle bytes for other processes."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headroom.device.open import open_device
from headroom.device.shared import SharedDevice
from headroom.engine.engine import Engine
from headroom.errors import Cancelled, DoesNotFit, InvalidRequest
from headroom.hardware.machine import LEAST_RESERVE
from headroom.memory.plan import Residency
from headroom.runtime.arbiter.account import Card, Turn
from headroom.runtime.arbiter.arbiter import Arbiter
from headroom.runtime.arbiter.folder import Account, place_of
from headroom.runtime.arbiter.processes import on_all_cards
from headroom.runtime.events import Event, Queued
from headroom.units import GIB, MIB
from support.shared_work import Heavy, Task, engine_of
from tone_model.requests import Tone

ASKED = Tone(duration=0.1, seed=1, steps=1)
ACCOUNT = "card account"


def task(folder: Path, **named: object) -> Task:
    return Task(str(folder), work=0.0, **named)  # type: ignore[arg-type]


def other(folder: Path, device: SharedDevice) -> Arbiter:
    """Another member of the account, whose process has nothing on the card."""
    assert device.identity is not None
    return Arbiter(
        Account(place_of(folder, device.identity)),
        lambda: Card(device.total_memory(), device.free_memory()),
        lambda wanted: None,
    )


def device_of(engine: Engine) -> SharedDevice:
    assert isinstance(engine.device, SharedDevice)
    return engine.device


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with engine_of(task(tmp_path)) as made:
        yield made


def account_threads() -> int:
    gc.collect()  # the cards of engines that are over, and with them their threads
    return sum(thread.name == ACCOUNT for thread in threading.enumerate())


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_alone_on_the_card_nothing_starts_a_thread_and_the_lease_ends(engine: Engine) -> None:
    before = threading.active_count()
    made = engine.generate(ASKED)
    assert threading.active_count() == before
    assert made.plan.budget == engine.machine.budget
    assert engine.card.sharing is not None
    me = engine.card.sharing.arbiter.me
    assert me.leased == 0 and me.idle == engine.card.ledger.bytes() > 0


def test_plans_count_what_others_have_leased(engine: Engine, tmp_path: Path) -> None:
    alone = engine.plan(ASKED)
    beside = other(tmp_path, device_of(engine))
    beside.lease(3 * GIB)
    # Nothing that fits beside it is nearly as fast: the plan is for the time after it.
    assert engine.plan(ASKED) == alone
    told: list[Event] = []
    with pytest.raises(Cancelled):
        engine.generate(ASKED, told.append, lambda: bool(told))
    assert told == [Queued(1)]
    beside.end()
    beside.lease(GIB // 2)
    now = engine.card.now(engine.machine)
    assert now.free == 4 * GIB - GIB // 2
    engine.generate(ASKED)
    beside.close()


def test_idle_parts_leave_for_another_process_the_longest_unused_first(
    engine: Engine, tmp_path: Path
) -> None:
    engine.generate(ASKED)
    held = engine.card.ledger.bytes()
    beside = other(tmp_path, device_of(engine))
    need = 4 * GIB - held + 100 * MIB
    assert beside.step(need).turn is Turn.OUTSIDE  # nobody listens yet: it was alone
    beside.end()
    engine.generate(ASKED)
    assert account_threads() == 1
    beside.lease(need)
    assert engine.card.ledger.bytes() == held - 300 * MIB  # the first part was used first
    assert device_of(engine).bytes_to_host == 0
    beside.close()
    wait_for(lambda: account_threads() == 0)  # alone again


def test_a_managed_engine_listens_while_it_has_something(tmp_path: Path) -> None:
    with engine_of(task(tmp_path, managed=True)) as engine:
        assert account_threads() == 0
        engine.prefetch(ASKED)
        assert account_threads() == 1
        assert engine.card.ledger.bytes() == 1400 * MIB
        beside = other(tmp_path, device_of(engine))
        beside.lease(4 * GIB)
        assert engine.card.ledger.bytes() == 0
        beside.close()
        wait_for(lambda: account_threads() == 0)  # nothing is left to give


def test_what_a_stranger_holds_is_waited_for_and_then_refused(
    engine: Engine, tmp_path: Path
) -> None:
    stranger = SharedDevice("lab", tmp_path, 4 * GIB, fake=True)
    stranger._put(stranger._place, 4 * GIB - MIB)
    assert engine.card.sharing is not None
    engine.card.sharing._patience = 0.05
    with pytest.raises(DoesNotFit):
        engine.generate(ASKED)
    engine.card.sharing._patience = 60.0
    timer = threading.Timer(0.3, lambda: stranger._put(stranger._place, 0))
    timer.start()
    engine.generate(ASKED)
    timer.join()


def test_the_lease_is_what_the_plan_says_and_its_reserve(engine: Engine, tmp_path: Path) -> None:
    assert engine.card.sharing is not None
    seen: list[int] = []
    arbiter = engine.card.sharing.arbiter
    made = engine.generate(ASKED, lambda event: seen.append(arbiter.me.leased))
    assert set(seen) == {made.plan.peak + LEAST_RESERVE}


def test_calls_that_wait_are_not_loaded_twice(tmp_path: Path) -> None:
    """Under management parts leave after the last call only, where several wait."""
    with engine_of(task(tmp_path, managed=True)) as engine:
        threads = [threading.Thread(target=engine.generate, args=(ASKED,)) for _ in range(3)]
        with engine.card.turn:
            for thread in threads:
                thread.start()
            wait_for(lambda: len(engine._executor._calls) == 3)
        for thread in threads:
            thread.join()
        assert device_of(engine).bytes_to_device == 1400 * MIB
        assert engine.card.ledger.bytes() == 0


def test_a_switch_copies_the_other_model_and_nothing_back(tmp_path: Path) -> None:
    """Two engines on a card with room for one: what leaves is dropped."""
    first = engine_of(task(tmp_path))
    second = Engine(family="tone", settings=first.settings, card=first.card, quantization="none")
    vars(second)["model"] = Heavy(task(tmp_path, parts=(1000, 900, 400)))
    first.generate(ASKED)
    device = device_of(first)
    copied = device.bytes_to_device
    made = second.generate(ASKED)
    assert all(p.residency is not Residency.STREAMED for p in made.plan.placements)
    assert device.bytes_to_device - copied == 2300 * MIB
    assert device.bytes_to_host == 0
    first.close()
    second.close()
    assert device.memory_allocated() == 0


def test_a_lost_folder_ends_the_sharing_and_not_the_work(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.generate(ASKED)

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Account, "write", full)
    engine.generate(ASKED)
    assert engine.card.sharing is None


def test_the_card_of_a_name_is_one_for_all_who_use_its_folder(tmp_path: Path) -> None:
    device = open_device("simulated:lab", GIB, tmp_path)
    assert open_device("simulated:lab", 2 * GIB, tmp_path) is device
    assert isinstance(device, SharedDevice)
    second = SharedDevice("lab", tmp_path, 2 * GIB)
    assert second.total_memory() == GIB
    second._put(second._place, GIB // 4)
    assert device.free_memory() == GIB - GIB // 4
    with pytest.raises(InvalidRequest):
        open_device("simulated:a name", GIB, tmp_path)


def test_every_process_on_the_card_is_told(engine: Engine, tmp_path: Path) -> None:
    engine.generate(ASKED)
    beside = other(tmp_path, device_of(engine))
    beside.lease(GIB)
    told = engine.get_gpu_status()["processes"]
    assert isinstance(told, list)
    assert [(one["idle"], one["leased"]) for one in told] == [(1400 * MIB, 0), (0, GIB)]
    assert told[0]["idle_seconds"] >= 0 and told[1]["idle_seconds"] is None
    assert [one.leased for one in on_all_cards(tmp_path)].count(GIB) == 1
    assert on_all_cards(tmp_path / "nowhere") == ()
    beside.close()
