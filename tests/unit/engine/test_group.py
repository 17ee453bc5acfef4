"""An engine on a group of cards: where its parts are, whose turn it is, and what is left behind."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headroom.device.simulated import SimulatedDevice
from headroom.engine.engine import Engine
from headroom.errors import Cancelled, DoesNotFit, EngineInUse, InvalidRequest
from headroom.hardware.machine import CONTEXT, LEAST_RESERVE
from headroom.memory.plan import Residency
from headroom.models.base import Loader
from headroom.runtime.card import Card
from headroom.runtime.entry import State
from headroom.runtime.events import Event, Progress, Replanned, StageStarted, Started
from headroom.settings import load
from headroom.units import GIB, MIB
from support.interrupts import STUCK
from support.woven import ASKED, NAMES, ROOM, Woven, woven

STAYS = Residency.RESIDENT
Two = tuple[Card, Card]


class Apart(Woven):
    """Two acts: the first may be on another card than the second."""

    apart = True
    workspace = 100 * MIB

    def __init__(self) -> None:
        super().__init__()
        self.loads: Counter[str] = Counter()

    def loaders(self) -> Mapping[str, Loader]:
        def counting(name: str, load: Loader) -> Callable[[], object]:
            def work() -> object:
                self.loads[name] += 1
                return load()

            return work

        return {name: counting(name, load) for name, load in super().loaders().items()}


def card(budget: int = GIB) -> Card:
    """A simulated card on which a plan may use about so many bytes."""
    return Card(SimulatedDevice(CONTEXT + LEAST_RESERVE + budget))


@pytest.fixture
def two() -> Two:
    return card(), card()


def apart(cards: tuple[Card, ...], residency: Residency = STAYS) -> Engine:
    return woven(residency, env={}, card=cards, model=Apart())


def spread(engine: Engine) -> None:
    """Let the first act be on the second card: as after a plan that put it there."""
    engine._executor._at.update({"a": 1, "c": 1, "b": 0})


def at(engine: Engine) -> dict[str, int]:
    """The card of each part that is on one."""
    return {p.name: p.card for p in engine.status() if p.state is State.DEVICE}


def idle_watches() -> int:
    return sum(thread.name == "idle parts" for thread in threading.enumerate())


SPREAD = {"a": 1, "c": 1, "b": 0}


def test_each_act_is_done_on_its_card_and_makes_the_same(two: Two) -> None:
    alone = woven(STAYS, env={}).generate(ASKED).audio.samples
    engine = apart(two)
    assert engine.generate(ASKED).plan.cards_used == (0,)  # one has room for all
    assert at(engine) == dict.fromkeys(NAMES, 0) and two[1].ledger.bytes() == 0
    spread(engine)
    done = engine.generate(ASKED)
    assert torch.equal(done.audio.samples, alone)
    assert at(engine) == SPREAD
    assert [(s.stage, s.card) for s in done.report.stages] == [("denoise", 1), ("decode", 0)]
    for stage in done.report.stages:
        assert 0 < stage.measured_bytes <= stage.planned_bytes
    for one in two:
        assert one.device.memory_allocated() == one.ledger.bytes() > 0
        one.ledger.check_integrity()


def test_a_part_that_goes_to_another_card_is_not_loaded_again(two: Two) -> None:
    engine = apart(two)
    for order in (False, True, False, True):
        engine._executor._at.update(SPREAD if order else dict.fromkeys(NAMES, 0))
        engine.generate(ASKED)
        assert at(engine) == (SPREAD if order else dict.fromkeys(NAMES, 0))
    model = engine.model
    assert isinstance(model, Apart) and set(model.loads.values()) == {1}
    assert len({p.name for p in engine.status()}) == len(engine.status()) == len(NAMES)


def test_a_part_is_taken_over_from_whichever_card_holds_it() -> None:
    three = card(), card(), card()
    engine = woven(STAYS, env={}, card=three, model=Apart())
    for first in (2, 0, 1, 2):
        engine._executor._at.update({"a": first, "c": first, "b": 0})
        engine.generate(ASKED)
        assert at(engine) == {"a": first, "c": first, "b": 0}
        assert sum(one.ledger.bytes() > 0 for one in three) == len({first, 0})
    model = engine.model
    assert isinstance(model, Apart) and set(model.loads.values()) == {1}


def test_on_a_second_card_that_is_needed_parts_stay_from_song_to_song() -> None:
    # Each stage has its workspace; together the parts of both are a few KiB more than the budget.
    tight = card(100 * MIB + 12_000), card(100 * MIB + 12_000)
    engine = woven(STAYS, env={}, card=tight, model=Apart())
    with pytest.raises(DoesNotFit):
        woven(STAYS, env={}, card=(tight[0],), model=Apart()).plan(ASKED)
    assert engine.generate(ASKED).plan.cards_used == (0, 1)
    devices = [one.device for one in tight]
    before = [device.bytes_to_device for device in devices]  # type: ignore[attr-defined]
    engine.generate(ASKED)
    after = [device.bytes_to_device for device in devices]  # type: ignore[attr-defined]
    weights = sum(one.ledger.bytes() for one in tight)
    assert sum(after) - sum(before) == sum(before) - weights > 0  # what the acts hand over


def test_offload_release_close_and_management_cover_all_cards(two: Two) -> None:
    engine = apart(two)
    spread(engine)
    engine.prefetch(ASKED)
    assert at(engine) == SPREAD and not any(one.turn.locked() for one in two)
    engine.offload("a")
    assert at(engine) == {"c": 1, "b": 0}
    engine.offload()
    assert [one.ledger.bytes() for one in two] == [0, 0]
    assert {p.state for p in engine.status()} == {State.HOST}
    engine.generate(ASKED)
    assert at(engine) == SPREAD
    engine.release()
    assert {p.state for p in engine.status()} == {State.ABSENT}
    engine.generate(ASKED)
    engine.close()
    assert [one.device.memory_allocated() for one in two] == [0, 0]
    watches = idle_watches()
    managed = Engine(
        "auto", "float32", family="tone", card=two, settings=load({}), gpu_management=True,
        gpu_idle_timeout=0.05, quantization="none",
    )  # fmt: skip
    vars(managed)["model"] = Apart()
    spread(managed)
    managed.prefetch(ASKED)
    gone = threading.Event()
    while not gone.wait(0.01) and any(one.ledger.bytes() for one in two):
        pass
    assert at(managed) == {}
    managed.generate(ASKED)
    assert [one.ledger.bytes() for one in two] == [0, 0]
    assert idle_watches() == watches + 2
    managed.close()
    assert idle_watches() == watches


def test_the_status_tells_of_each_card(two: Two) -> None:
    engine = apart(two)
    spread(engine)
    engine.generate(ASKED)
    status = engine.get_gpu_status()
    cards, parts = status["cards"], status["parts"]
    assert isinstance(cards, list) and isinstance(parts, list)
    assert [one["allocated_bytes"] for one in cards] == [one.ledger.bytes() for one in two]
    assert {part["name"]: part["card"] for part in parts} == SPREAD
    assert status["allocated_bytes"] == cards[0]["allocated_bytes"]


@pytest.mark.parametrize("stage", ["denoise", "decode"])
def test_where_memory_runs_out_on_one_card_the_other_keeps_what_it_has(
    two: Two, stage: str
) -> None:
    alone = woven(STAYS, env={}).generate(ASKED).audio.samples
    engine = apart(two)
    spread(engine)
    engine.generate(ASKED)
    failing, other = (two[1], two[0]) if stage == "denoise" else two
    held, told, kept = other.ledger.bytes(), list[Event](), list[int]()
    device = failing.device
    assert isinstance(device, SimulatedDevice)

    def listen(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == stage:
            if not any(isinstance(one, Replanned) for one in told):
                device.fail_at = device.allocations + 1
        if isinstance(event, Replanned):
            kept.append(other.ledger.bytes())
        told.append(event)

    done = engine.generate(ASKED, listen)
    assert torch.equal(done.audio.samples, alone)
    assert [e.stage for e in told if isinstance(e, Replanned)] == [stage]
    assert {s.stage: s.card for s in done.plan.stages} == {"denoise": 1, "decode": 0}
    assert done.plan.cards and {p.component: p.card for p in done.plan.placements} == SPREAD
    assert kept == [held] and other.ledger.bytes() == held
    for one in two:
        one.ledger.check_integrity()


@pytest.mark.parametrize("stage", ["denoise", "decode"])
def test_a_cancelled_call_leaves_all_cards_in_order(two: Two, stage: str) -> None:
    engine = apart(two)
    spread(engine)
    seen: set[str] = set()

    def listen(event: Event) -> None:
        if isinstance(event, StageStarted):
            seen.add(event.stage)

    with pytest.raises(Cancelled):
        engine.generate(ASKED, listen, lambda: stage in seen)
    assert not any(one.turn.locked() for one in two)
    assert not any(part.leases for part in engine.status())
    for one in two:
        one.ledger.check_integrity()
    assert engine.generate(ASKED).audios


def test_a_call_has_the_turn_of_all_its_cards_in_one_order(two: Two) -> None:
    first, turned, single = apart(two), apart(two[::-1]), apart((two[1],))
    refused = 0

    def listen(event: Event) -> None:
        nonlocal refused
        if isinstance(event, Started | Progress):
            assert all(one.turn.is_mine() for one in two)
            for other in (turned, single):
                with pytest.raises(EngineInUse):
                    other.generate(ASKED)
            refused += 1

    first.generate(ASKED, listen)
    assert refused > 1 and not any(one.turn.locked() for one in two)
    made: list[int] = []

    def work(engine: Engine) -> None:
        for _ in range(10):
            engine.generate(ASKED)
        made.append(1)

    threads = [threading.Thread(target=work, args=(e,)) for e in (first, turned, single)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(STUCK)
    assert len(made) == 3


def test_the_limit_of_each_card_is_in_force(two: Two) -> None:
    engine = apart(two)
    engine._executor.caps = (GIB // 2, GIB // 4)
    engine.generate(ASKED)
    assert [one.device.cap for one in two] == [GIB // 2, GIB // 4]


def test_the_words_open_a_group_and_none_is_named_twice(two: Two) -> None:
    made = Engine("simulated,simulated", family="tone", settings=load(ROOM))
    assert len(made.cards) == 2 and made.cards[0] is not made.cards[1]
    assert [one.total for one in made.machine.cards] == [24 * GIB, 24 * GIB]
    for words in ("cuda:0,cuda", "simulated:a,simulated:a", "cuda:0,cpu", "cpu,cpu", "cuda:0,"):
        with pytest.raises(InvalidRequest, match=r"device: .*up to 8 different cards of one kind"):
            Engine(words, family="tone", settings=load({}))
    for cards in ((two[0], two[0]), (), (two[0], "cuda:0")):
        with pytest.raises(InvalidRequest, match="card: "):
            apart(cards)  # type: ignore[arg-type]


def test_without_an_earlier_plan_the_song_is_on_the_first_card() -> None:
    tight = card(100 * MIB + 12_000), card(100 * MIB + 12_000)
    engine = woven(STAYS, env={}, card=tight, model=Apart())
    plan = engine.plan(ASKED)
    assert [s.card for s in plan.stages] == [1, 0]
    assert replace(plan, cards=()).budget == tight[0].now(engine.machine.cards[0]).budget


def test_memory_is_leased_on_the_card_that_an_act_runs_on_and_no_other(tmp_path: Path) -> None:
    settings = load({"HEADROOM_CARDS_DIR": str(tmp_path), "MAX_CUDA_VRAM": "2"})
    with Engine("simulated:a,simulated:b", family="tone", settings=settings) as engine:
        vars(engine)["model"] = Apart()
        spread(engine)
        leased: list[tuple[int, ...]] = []

        def now() -> tuple[int, ...]:
            shares = [one.sharing for one in engine.cards]
            return tuple(0 if one is None else one.arbiter.me.leased for one in shares)

        def listen(event: Event) -> None:
            if isinstance(event, Started):
                leased.append(now())
                assert now()[1] >= event.plan.on(1).peak

        engine.generate(ASKED, listen)
        ((first, second),) = leased
        assert first == 0 < second and now() == (0, 0)
        names = [{one.name for one in card.processes()} for card in engine.cards]
        assert names[0] == names[1] != set()


def test_tensors_of_two_simulated_cards_do_not_meet(two: Two) -> None:
    with two[0].device.inside():
        one = torch.ones(4, device=two[0].device.torch)
    with two[1].device.inside():
        other = torch.ones(4, device=two[1].device.torch)
        with pytest.raises(RuntimeError, match="on 2 simulated cards"):
            one + other
        doubled = one * 2  # is where its operand is
    assert two[0].device.memory_allocated() == 2 * one.nbytes
    assert two[1].device.memory_allocated() == other.nbytes
    del doubled
