"""Several engines on one card: one budget, one turn, and each with its own parts."""

from __future__ import annotations

import gc
import threading
import weakref
from itertools import groupby

import pytest
import torch

from headroom.engine.engine import Engine
from headroom.errors import EngineClosed, EngineInUse, InvalidRequest
from headroom.memory.plan import Residency
from headroom.runtime.card import Card
from headroom.runtime.entry import State
from headroom.runtime.events import Event, Progress, Queued, StageStarted, Started
from headroom.settings import load
from support.interrupts import STUCK
from support.pool_model import placed
from support.woven import ASKED, NAMES, ROOM, Woven, woven
from tone_model.requests import Tone

STAYS = Residency.RESIDENT
TONE = Tone(duration=0.1, seed=5)


def tone(card: Card) -> Engine:
    return Engine(family="tone", settings=load(ROOM), card=card)


def there(engine: Engine) -> set[str]:
    """The parts that are on the device."""
    return {part.name for part in engine.status() if part.state is not State.HOST} - {
        part.name for part in engine.status() if part.state is State.ABSENT
    }


def test_engines_that_take_turns_on_a_card_make_what_each_makes_alone() -> None:
    first = woven(STAYS)
    second, third = woven(STAYS, card=first.card), tone(first.card)
    alone = woven(STAYS).generate(ASKED).audio.samples
    alone_too = Engine("cpu", family="tone", settings=load({})).generate(TONE).audio.samples
    for _ in range(2):
        for engine in (first, second):
            assert torch.equal(engine.generate(ASKED).audio.samples, alone)
        assert torch.equal(third.generate(TONE).audio.samples, alone_too)
    assert there(first) == there(second) == set(NAMES)  # there is room for all
    assert first.card.ledger.bytes() == 2 * first._pool.bytes() > 0
    for engine in (first, second, third):
        engine._pool.check_integrity()


def test_closing_offloading_and_releasing_one_engine_leave_the_others() -> None:
    first = woven(STAYS)
    second = woven(STAYS, card=first.card)
    for engine in (first, second):
        engine.generate(ASKED)
    own = second._pool.bytes()
    first.offload()
    assert there(first) == set() and there(second) == set(NAMES)
    first.generate(ASKED)
    first.release()
    assert {part.state for part in first.status()} == {State.ABSENT}
    first.generate(ASKED)
    first.close()
    assert there(second) == set(NAMES)
    assert first.device.memory_allocated() == first.card.ledger.bytes() == own
    with pytest.raises(EngineClosed):
        first.generate(ASKED)
    assert second.generate(ASKED).audios
    second.close()  # the last one
    assert first.device.memory_allocated() == first.card.ledger.floor == 0


def test_the_least_recently_used_parts_of_other_engines_leave_when_room_is_needed() -> None:
    first = woven(STAYS)
    second, big = woven(STAYS, card=first.card), Woven()
    third = woven(STAYS, card=first.card, model=big)
    for engine in (second, first):
        engine.generate(ASKED)
    own = first._pool.bytes()
    # Room for the parts of the two engines used last, and for a byte less than those of three.
    spare = 2 * own - 1
    big.workspace = first.machine.budget - spare - own - (1 << 20)
    plan = third.plan(ASKED)
    assert plan.budget - plan.peak == spare
    over: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress):
            over.append(plan.peak + third._pool.bytes_of_others - plan.budget)

    third.generate(ASKED, listen)
    assert over and max(over) <= 0
    assert there(first) == set(NAMES)
    assert there(second) == {"c", "b"}  # "a" was used before them
    big.workspace += spare
    third.generate(ASKED)  # needs all the room
    assert there(first) == there(second) == set() and there(third) == set(NAMES)
    assert second.generate(ASKED).audios
    third._pool.check_integrity()


def test_what_idle_parts_of_others_take_is_free_for_a_new_engine() -> None:
    first = woven(STAYS)
    first.generate(ASKED)
    assert first.device.free_memory() < first.machine.free
    assert woven(STAYS, card=first.card).machine.free == first.machine.free


def test_a_part_that_others_hold_in_memory_leaves_where_memory_runs_out() -> None:
    first = woven(STAYS)
    second = woven(STAYS, card=first.card)
    first.generate(ASKED)
    device = first.device
    full = device.memory_allocated() + 64  # bytes; the plan counts on much more

    def listen(event: Event) -> None:
        if isinstance(event, StageStarted):
            device.set_cap(full)

    alone = woven(STAYS).generate(ASKED).audio.samples
    assert torch.equal(second.generate(ASKED, listen).audio.samples, alone)
    assert there(first) == set()


def test_a_listener_that_calls_another_engine_on_the_card_is_refused() -> None:
    first = woven(STAYS)
    second, elsewhere = woven(STAYS, card=first.card), woven(STAYS)
    refused = 0

    def calls(event: Event) -> None:
        nonlocal refused
        for act in (second.generate, second.prefetch):
            with pytest.raises(EngineInUse, match="on_event"):
                act(ASKED)
            refused += 1
        assert elsewhere.generate(ASKED).audios  # another card has its own turn
        assert second.plan(ASKED).peak > 0

    assert first.generate(ASKED, calls).audios
    assert refused > 2


def test_threads_with_an_engine_each_wait_for_each_other_and_hear_it() -> None:
    first = woven(STAYS)
    others = [woven(STAYS, card=first.card) for _ in range(3)]
    at_work, go_on = threading.Event(), threading.Event()
    alone = first.generate(ASKED).audio.samples
    made: list[bool] = []
    told: list[list[Event]] = [[] for _ in others]
    at_it: list[int] = []  # whose engine each event of work was of, in order

    def run(index: int) -> None:
        def tell(event: Event) -> None:
            told[index].append(event)
            if not isinstance(event, Queued):
                at_it.append(index)

        made.append(torch.equal(others[index].generate(ASKED, tell).audio.samples, alone))

    def hold(event: Event) -> None:
        at_work.set()
        assert go_on.wait(STUCK)

    threads = [threading.Thread(target=lambda: first.generate(ASKED, hold))]
    threads += [threading.Thread(target=run, args=(i,)) for i in range(len(others))]
    threads[0].start()
    assert at_work.wait(STUCK)
    for thread, heard in zip(threads[1:], told, strict=True):
        thread.start()
        while not heard:
            thread.join(0.001)
    assert [heard[0] for heard in told] == [Queued(1), Queued(2), Queued(3)]
    go_on.set()
    for thread in threads:
        thread.join(STUCK)
    assert made == [True] * 3
    assert len([index for index, _ in groupby(at_it)]) == 3  # one after another
    for heard in told:
        positions = [event.position for event in heard if isinstance(event, Queued)]
        assert positions == sorted(set(positions), reverse=True)
        assert isinstance(heard[len(positions)], Started)  # the wait comes first


def test_what_an_interrupted_call_left_is_cleaned_up_by_the_next_call_of_any_engine() -> None:
    first = woven(STAYS, threads=torch.get_num_threads() + 1)
    second = woven(STAYS, card=first.card)
    with first.device.inside(), torch.inference_mode():
        first._pool.lease([placed("a", STAYS)])  # and nobody gives it back
    assert sum(part.leases for part in first.status()) == 1
    second.generate(ASKED)
    assert sum(part.leases for part in first.status()) == 0


def test_the_limit_in_force_is_that_of_the_engine_at_work() -> None:
    first = woven(STAYS, {"MAX_CUDA_VRAM": "24"})
    second = woven(STAYS, card=first.card)
    second._executor.caps = (8 << 30,)
    caps: list[int | None] = []
    for engine in (first, second, first):
        engine.generate(ASKED, lambda event: caps.append(first.device.cap))
    assert list(dict.fromkeys(caps)) == [24 << 30, 8 << 30] and caps[0] == caps[-1]


def test_a_device_has_one_card_while_somebody_uses_it() -> None:
    first, second = (Engine("cpu", family="tone", settings=load({})) for _ in range(2))
    assert first.card is second.card and first.device is second.device
    assert first._pool is not second._pool
    engine = woven(STAYS)
    assert Card.of(engine.device) is engine.card and woven(STAYS).card is not engine.card
    engine.generate(ASKED)
    card, device = weakref.ref(engine.card), engine.device
    other = woven(STAYS, card=engine.card)
    other.generate(ASKED)
    own = other._pool.bytes()
    del engine
    gc.collect()
    assert device.memory_allocated() == other.card.ledger.bytes() == own
    del other
    gc.collect()
    assert card() is None and device.memory_allocated() == 0


def test_a_card_is_a_card_and_goes_without_a_device() -> None:
    with pytest.raises(InvalidRequest, match="card: 'cpu'"):
        Engine(card="cpu", settings=load({}))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="device: 'cpu' is not allowed"):
        Engine("cpu", card=woven(STAYS).card, settings=load({}))
