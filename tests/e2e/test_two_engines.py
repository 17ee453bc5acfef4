"""Two families on one card: the bundled ACE-Step model and the tone family, by turns."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from headroom.device.simulated import SimulatedDevice
from headroom.engine.engine import Engine
from headroom.hardware.machine import CONTEXT, LEAST_RESERVE
from headroom.memory.plan import Residency, Wishes
from headroom.models.acestep.requests.songs import Text2Music
from headroom.runtime.card import Card
from headroom.runtime.events import AudioReady, Event, Loading, Replanned, WithAudio
from headroom.settings import load
from headroom.units import GIB
from tone_model.requests import Tone

SONG = Text2Music(
    caption="slow", duration=10, seed=3, inference_steps=1, enable_normalization=False
)
TONE = Tone(duration=1, seed=5)
SETTINGS = load({"ACESTEP_MAX_DURATION": "5", "ACESTEP_INIT_LM_DEFAULT": "false"})


def acestep(card: Card | None) -> Engine:
    return Engine(
        "cpu" if card is None else "auto", "float32", settings=SETTINGS, card=card,
        wishes=Wishes(None if card is None else Residency.RESIDENT),
        quantization="none",
    )  # fmt: skip


def tone(card: Card | None) -> Engine:
    word = "cpu" if card is None else "auto"
    return Engine(word, "float32", family="tone", settings=SETTINGS, card=card)


@dataclass(frozen=True)
class Alone:
    """What each engine makes on a large card of its own, and what the song takes there."""

    song: Tensor
    tone: Tensor
    parts: int
    peak: int


@pytest.fixture(scope="module")
def alone() -> Alone:
    with acestep(Card(SimulatedDevice(24 * GIB))) as engine:
        made = engine.generate(SONG)
        parts = engine.card.ledger.bytes()
    other = tone(Card(SimulatedDevice(24 * GIB)))
    return Alone(made.audio.samples, other.generate(TONE).audio.samples, parts, made.plan.peak)


def test_on_a_card_with_room_for_one_they_make_by_turns_what_they_make_alone(
    alone: Alone,
) -> None:
    budget = alone.peak + alone.parts // 2
    device = SimulatedDevice(CONTEXT + LEAST_RESERVE + budget)
    card = Card(device)
    first, second, third = acestep(card), acestep(card), tone(card)
    device.trace = []
    told: list[Event] = []
    for _ in range(2):
        for engine in (first, second):
            made = engine.generate(SONG, told.append)
            assert torch.equal(made.audio.samples, alone.song)
            assert made.plan.budget == budget
            assert torch.equal(third.generate(TONE).audio.samples, alone.tone)
            card.ledger.check_integrity()
            others = card.ledger.bytes() - engine._pool.bytes()
            assert 0 < others or engine is first  # what need not leave stays
    assert max(device.trace) <= budget
    assert not any(isinstance(event, Replanned) for event in told)
    assert sum(isinstance(event, Loading) and event.part == "dit" for event in told) >= 2
    first.close()
    assert torch.equal(second.generate(SONG).audio.samples, alone.song)
    second.close()
    assert torch.equal(third.generate(TONE).audio.samples, alone.tone)
    third.close()
    assert device.memory_allocated() == card.ledger.bytes() == 0


def test_they_share_the_host_and_a_song_is_heard_as_it_is_decoded(alone: Alone) -> None:
    song, other = acestep(None), tone(None)
    assert song.card is other.card
    heard: list[AudioReady] = []
    made = song.generate(
        SONG.model_copy(update={"seed": None, "seeds": (3, 4)}),
        WithAudio(lambda event: heard.append(event) if isinstance(event, AudioReady) else None),
    )
    assert torch.equal(other.generate(TONE).audio.samples, alone.tone)
    assert {event.song for event in heard} == {0, 1} and len(heard) > 10
    for index, audio in enumerate(made.audios):
        parts = [event for event in heard if event.song == index]
        ends = [event.start + event.audio.frames for event in parts]
        assert [event.start for event in parts] == [0, *ends[:-1]] and ends[-1] == audio.frames
        preview = torch.cat([event.audio.samples for event in parts], dim=1)
        most = float(preview.abs().max())  # protection from clipping is still to come
        assert torch.equal(preview / most if most > 1 else preview, audio.samples)
    song.close()
    assert torch.equal(other.generate(TONE).audio.samples, alone.tone)
