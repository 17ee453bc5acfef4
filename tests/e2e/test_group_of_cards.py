"""Two simulated cards as one group: the language model on one, the song on the other, and the same
song as on one card."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from headroom import Engine
from headroom.device.simulated import SimulatedDevice
from headroom.hardware.machine import CONTEXT, LEAST_RESERVE
from headroom.memory.explain import explain
from headroom.models.acestep.requests.songs import Text2Music
from headroom.runtime.card import Card
from headroom.runtime.entry import State
from headroom.runtime.events import Event, Replanned, StageStarted
from headroom.settings import load
from headroom.units import GIB

SONG = Text2Music(
    caption="slow",
    lyrics="la la",
    duration=10,
    seed=3,
    inference_steps=1,
    thinking=True,
    bpm=90,
    keyscale="C major",
    timesignature="4",
    vocal_language="en",
    use_cot_caption=False,
    use_cot_language=False,
)
LANGUAGE = ("think", "write codes")
SETTINGS = load({"HEADROOM_POLICY": "adaptive", "ACESTEP_MAX_DURATION": "10"})


def engine(cards: Sequence[Card], **more: object) -> Engine:
    return Engine("auto", "float32", card=tuple(cards), settings=SETTINGS, **more)


def card(budget: int) -> Card:
    """A simulated card on which a plan may use so many bytes."""
    return Card(SimulatedDevice(CONTEXT + LEAST_RESERVE + budget))


def parts_on(made: Engine, number: int) -> set[str]:
    """Parts that are on a card now."""
    here = (State.DEVICE, State.PASSING)
    return {p.name for p in made.status() if p.card == number and p.state in here}


class Alone:
    """The song on one large card, and what it takes there."""

    def __init__(self) -> None:
        with engine([card(16 * GIB)]) as made:
            done = made.generate(SONG)
            self.samples: Tensor = done.audio.samples
            self.codes = done.output.songs[0].codes
            whole = made.plan(SONG)
            self.language = max(s.peak for s in whole.stages if s.stage in LANGUAGE)
            self.peak = whole.peak
            lm = whole.placement(whole.stages[0].uses[0])
            self.lm, self.lm_bytes = lm.component, lm.bytes


pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def alone() -> Alone:
    return Alone()


@pytest.fixture
def tight(alone: Alone) -> tuple[Card, Card]:
    """Two cards, neither of which has room for the parts of all stages at once."""
    budget = alone.peak - alone.lm_bytes // 2
    return card(budget), card(budget)


def test_the_song_is_the_same_with_its_acts_on_two_cards(
    alone: Alone, tight: tuple[Card, Card]
) -> None:
    devices = [one.device for one in tight]
    for device in devices:
        assert isinstance(device, SimulatedDevice)
        device.trace = []
    with engine(tight) as made:
        plan = made.plan(SONG)
        assert plan.cards_used == (0, 1)
        assert {s.card for s in plan.stages if s.stage in LANGUAGE} == {1}
        assert {s.card for s in plan.stages if s.stage not in LANGUAGE} == {0}
        assert plan.copied == 0  # on one of them, parts would have to take turns
        assert "on card 1" in explain(plan)
        done = made.generate(SONG)
        assert torch.equal(done.audio.samples, alone.samples)
        assert done.output.songs[0].codes == alone.codes
        assert done.output.thought is not None
        assert {s.card for s in done.output.thought.stages} == {1}
        assert {s.card for s in done.report.stages} == {0}
        for report in (done.output.thought, done.report):
            for stage in report.stages:
                assert 0 < stage.measured_bytes <= stage.planned_bytes, stage.stage
        # Every byte of each card is counted, and both stay full between songs.
        assert parts_on(made, 1) == {alone.lm} and alone.lm not in parts_on(made, 0)
        for one in tight:
            one.ledger.check_integrity()
            assert one.ledger.bytes() > 0
        weights = [one.ledger.bytes() for one in tight]
        first = [device.bytes_to_device for device in devices]  # type: ignore[attr-defined]
        again = made.generate(SONG)
        assert torch.equal(again.audio.samples, alone.samples)
        second = [device.bytes_to_device for device in devices]  # type: ignore[attr-defined]
        for one, two, held in zip(first, second, weights, strict=True):
            assert two - one <= one - held  # no weights again: only ids, noise and the like
        status = made.get_gpu_status()
        assert [one["allocated_bytes"] for one in status["cards"]] == weights  # type: ignore[attr-defined]
    for device, one in zip(devices, tight, strict=True):
        assert max(device.trace) <= plan.cards[0].budget  # type: ignore[attr-defined]
        assert one.ledger.bytes() == device.memory_allocated() == 0  # closed


def test_where_memory_runs_out_on_one_card_the_other_keeps_what_it_has(
    alone: Alone, tight: tuple[Card, Card]
) -> None:
    told: list[Event] = []
    with engine(tight) as made:
        made.generate(SONG)
        held = tight[1].ledger.bytes()
        song = tight[0].device

        def listen(event: Event) -> None:
            first = not any(isinstance(event, Replanned) for event in told)
            told.append(event)
            if isinstance(event, StageStarted) and event.stage == "denoise" and first:
                song.fail_at = song.allocations + 5  # type: ignore[attr-defined]

        done = made.generate(SONG, listen)
        assert torch.equal(done.audio.samples, alone.samples)
        (replanned,) = [event for event in told if isinstance(event, Replanned)]
        assert replanned.stage == "denoise" and replanned.same_output
        assert tight[1].ledger.bytes() == held and parts_on(made, 1) == {alone.lm}
        assert {s.card for s in done.plan.stages if s.stage not in LANGUAGE} == {0}
        for one in tight:
            one.ledger.check_integrity()
