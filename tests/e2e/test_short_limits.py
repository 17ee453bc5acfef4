"""Limits that settings put below what a language model was trained on hold on every path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headroom.engine.engine import Engine
from headroom.errors import InvalidRequest
from headroom.models.acestep.requests.language_requests import (
    CreateSample,
    FormatSample,
    Understand,
)
from headroom.models.acestep.requests.songs import Text2Music
from headroom.settings import Settings, load
from support.answers import sheet
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]

TEXTS = (
    CreateSample(caption="a sad song", seed=1),
    CreateSample(caption="a sad song", duration="3", seed=1),
    CreateSample(caption="a sad song", duration=200, use_constrained_decoding=False),
    FormatSample(caption="slow", lyrics="la la", seed=1, use_constrained_decoding=False),
    Understand(audio_codes="1,2,3,400", seed=1),
)


def limited(name: str, value: str) -> Engine:
    return Engine("cpu", "float32", settings=load({name: value}))


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headroom.models.acestep.language.sheet_writing.TEXT_TOKENS", 150)


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [("HEADROOM_MAX_DURATION", "5", 5), ("ACESTEP_MAX_DURATION", "0.3", 1)],
)
def test_every_text_of_the_language_model_is_inside(name: str, value: str, most: int) -> None:
    engine = limited(name, value)
    for wish in TEXTS:
        assert sheet(engine, wish).duration == most


@pytest.mark.parametrize("said", [{"thinking": True}, {"plan_metadata": True}, {}])
def test_a_song_of_open_length_is_inside(said: dict[str, bool]) -> None:
    engine = limited("HEADROOM_MAX_DURATION", "5")
    result = engine.generate(Text2Music(caption="x", lyrics="la", inference_steps=1, **said))
    assert result.audio.seconds == 5
    assert {"5", "5.0"} & {str(n.used) for n in result.notes if n.field == "duration"} or said


def test_the_usual_length_is_inside_what_a_setting_allows() -> None:
    engine = limited("ACESTEP_MAX_DURATION", "20")
    (song,) = engine.think(Text2Music(caption="x"))[0].songs
    assert song.kept == 500  # 20 s
    assert engine.plan(Text2Music(caption="x")) == engine.plan(Text2Music(caption="x", duration=20))
    codes = "".join(f"<|audio_code_{n}|>" for n in range(150))
    assert engine.think(Text2Music(caption="x", audio_codes=codes))[0].songs[0].kept == 750
    whole = Engine("cpu", "float32", settings=load({"ACESTEP_MAX_DURATION": "30"}))
    assert whole.think(Text2Music(caption="x"))[0].notes == ()


def test_plan_says_the_same(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACESTEP_MAX_DURATION", "20")
    peaks = []
    for words in (["--json"], ["--json", "--duration", "20"], ["--json", "--duration", "10"]):
        peaks.append(json.loads(cli("plan", "x", "--vram", "8", *words).out))
    assert peaks[0]["stages"] == peaks[1]["stages"] != peaks[2]["stages"]
    assert [n["used"] for n in peaks[0]["notes"] if n["field"] == "duration"] == [20]


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "nan", "inf", "many", "1e3"])
def test_a_number_of_songs_that_is_none_is_a_sentence(value: str) -> None:
    for name in ("HEADROOM_MAX_BATCH_SIZE", "ACESTEP_MAX_BATCH_SIZE"):
        with pytest.raises(InvalidRequest, match=rf"{name}: .* a whole number, at least 1"):
            load({name: value})


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "many", "1e300"])
def test_a_length_that_is_none_is_a_sentence(value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"ACESTEP_MAX_DURATION: .* seconds above 0"):
        load({"ACESTEP_MAX_DURATION": value})


@pytest.mark.parametrize(
    "said",
    [{"max_batch_size": 0}, {"max_batch_size": 2.5}, {"max_duration": -3.0}, {"max_vram": 0.0}],
)
def test_settings_that_were_put_together_by_hand_are_checked_too(said: dict[str, Any]) -> None:
    (name,) = said
    with pytest.raises(InvalidRequest, match=f"{name}: .* allowed"):
        Engine("cpu", settings=Settings(**said))


def test_no_setting_makes_a_song_shorter_than_a_second() -> None:
    engine = limited("ACESTEP_MAX_DURATION", "0.01")
    (song,) = engine.think(Text2Music(caption="x", duration=60))[0].songs
    assert song.kept == 25
