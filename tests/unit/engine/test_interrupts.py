"""An interrupt at any line leaves the engine whole: a sample of `scripts/prove interrupts`."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import pytest
import torch

from headroom.engine.engine import Engine
from headroom.errors import Cancelled, EngineClosed, EngineInUse
from headroom.memory.plan import Residency
from headroom.runtime.card import Card
from headroom.runtime.entry import State as Where
from headroom.runtime.events import Event, Progress
from headroom.runtime.pool import Pool
from headroom.runtime.scope import Scope
from support.interrupts import STUCK, State, swept, visits
from support.woven import ASKED, NAMES, woven

OURS = ("runtime", "engine")
SAMPLE = 53  # one of so many lines; a prime, so that it meets other lines in each residency


@pytest.mark.parametrize("residency", [Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED])
def test_a_song_interrupted_anywhere_leaves_the_engine_whole(residency: Residency) -> None:
    report = swept(
        lambda: woven(residency), lambda e: e.generate(ASKED), one_of=SAMPLE, watched=OURS
    )
    assert report.faults == []
    assert report.interrupts > 5


def test_it_leaves_the_card_to_another_engine_there() -> None:
    others: dict[Engine, Engine] = {}

    def opened() -> Engine:
        engine = woven(Residency.RESIDENT)
        others[engine] = woven(Residency.RESIDENT, card=engine.card)
        return engine

    report = swept(
        opened,
        lambda engine: engine.generate(ASKED),
        one_of=3 * SAMPLE,
        watched=OURS,
        song=lambda engine: others[engine].generate(ASKED),
    )
    assert report.faults == []
    assert report.interrupts > 3


@pytest.mark.parametrize("act", ["offload", "release", "close", "prefetch"])
def test_so_does_what_moves_the_parts(act: str) -> None:
    acts: dict[str, Callable[[Engine], object]] = {
        "offload": Engine.offload,
        "release": Engine.release,
        "close": Engine.close,
        "prefetch": lambda engine: engine.prefetch(ASKED),
    }
    warm = act != "prefetch"
    report = swept(
        lambda: woven(Residency.RESIDENT),
        acts[act],
        one_of=53 if act == "prefetch" else 9,
        warm=warm,
        ends=act == "close",
        watched=OURS,
    )
    assert report.faults == []
    assert report.interrupts > 2


def test_a_second_interrupt_while_the_first_is_cleaned_up_leaves_it_usable() -> None:
    engine = woven(Residency.STREAMED)
    expected = engine.generate(ASKED).audio.samples
    state = State(engine)

    def broken(*arguments: object) -> None:
        raise KeyboardInterrupt

    for kind, name in ((Pool, "end"), (Pool, "_leave"), (Card, "_tidy"), (Scope, "leave")):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):

            def listen(event: Event, *, kind: type = kind, name: str = name) -> None:
                patch.setattr(kind, name, broken)
                raise KeyboardInterrupt

            engine.generate(ASKED, listen)
        assert torch.equal(engine.generate(ASKED).audio.samples, expected)
        assert state.faults() == []


def test_a_song_from_its_own_listener_is_refused_at_once() -> None:
    engine = woven(Residency.SWAPPED)
    refused = 0

    def calls(event: Event) -> None:
        nonlocal refused
        for act in (engine.generate, engine.prefetch):
            with pytest.raises(EngineInUse, match="on_event"):
                act(ASKED)
            refused += 1
        assert engine.plan(ASKED).peak > 0  # which waits for nobody
        engine.offload()

    assert engine.generate(ASKED, calls).audios
    assert refused > 2
    assert State(engine).faults() == []


def test_a_call_that_waits_for_another_can_be_cancelled() -> None:
    engine = woven(Residency.SWAPPED)
    at_work, go_on, told = threading.Event(), threading.Event(), []

    def hold(event: Event) -> None:
        if isinstance(event, Progress):
            at_work.set()
            assert go_on.wait(STUCK)

    first = threading.Thread(target=lambda: told.append(engine.generate(ASKED, hold)))
    first.start()
    assert at_work.wait(STUCK)
    with pytest.raises(Cancelled, match="another call"):
        engine.generate(ASKED, cancel=lambda: True)
    go_on.set()
    first.join(STUCK)
    assert len(told) == 1


def test_threads_and_gradients_are_as_they_were_after_an_interrupt() -> None:
    before = torch.get_num_threads()
    engine = woven(Residency.SWAPPED, threads=before + 1)
    state = State(engine)
    during: list[int] = []

    def listen(event: Event) -> None:
        during.append(torch.get_num_threads())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(ASKED, listen)
    assert during == [before + 1]
    assert state.faults() == []


def test_an_engine_is_closed_at_the_end_of_its_block_and_then_refuses_work() -> None:
    with woven(Residency.RESIDENT) as engine:
        assert engine.generate(ASKED).audios
    assert engine.device.memory_allocated() == engine._pool.floor
    assert {part.state for part in engine.status()} == {Where.ABSENT}
    for act in (engine.generate, engine.plan, engine.prefetch):
        with pytest.raises(EngineClosed, match="this engine is closed"):
            act(ASKED)
    with pytest.raises(EngineClosed), engine:
        pass
    engine.close()


def test_an_engine_that_is_closed_while_it_works_finishes_and_keeps_nothing() -> None:
    engine = woven(Residency.RESIDENT)
    assert engine.generate(ASKED, lambda event: engine.close()).audios
    assert {part.state for part in engine.status()} == {Where.ABSENT}
    gc.collect()
    assert engine.device.memory_allocated() == engine._pool.floor


def test_prefetched_parts_are_where_the_song_wants_them() -> None:
    engine = woven(Residency.RESIDENT)
    engine.prefetch(ASKED)
    assert {part.state for part in engine.status() if part.name in NAMES} == {Where.DEVICE}
    sent = engine.device.bytes_to_device  # type: ignore[attr-defined]
    owned = engine._pool.ledger.bytes()
    engine.generate(ASKED)
    assert sent >= owned
    assert engine.device.bytes_to_device - sent < owned / 2  # type: ignore[attr-defined]
    swapped = woven(Residency.SWAPPED)
    swapped.prefetch(ASKED)
    assert {part.state for part in swapped.status()} == {Where.HOST}


def test_visits_count_each_line() -> None:
    engine = woven(Residency.STREAMED)
    counted = visits(lambda: engine.generate(ASKED))
    files = {file for file, _ in counted}
    assert {"runtime/pool.py", "runtime/streaming.py", "engine/executor.py"} <= files
