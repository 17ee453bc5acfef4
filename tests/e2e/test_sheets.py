"""`acestep compose` and `acestep understand`, with the bundled small model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a sheet and some lyrics: the small model writes on as long as there is room."""
    monkeypatch.setattr("headroom.models.acestep.language.sheet_grammar.CAPTION_TOKENS", 40)
    monkeypatch.setattr("headroom.models.acestep.language.sheet_writing.TEXT_TOKENS", 300)


def sheet(done: object) -> dict[str, object]:
    value = json.loads(done.out)  # type: ignore[attr-defined]
    song = value["song"]
    assert 30 <= song["bpm"] <= 300 and 10 <= song["duration"] <= 600
    assert song["keyscale"] in KEYS and song["language"] in LANGUAGES
    assert song["timesignature"] in ("2", "3", "4", "6") and song["caption"]
    assert isinstance(song["lyrics"], str)
    return song


def test_a_line_becomes_a_song_sheet(cli: Cli) -> None:
    words = ("compose", "a sad song about rain", "--seed", "3", "--json")
    done = cli(*words)
    assert (done.code, done.err) == (0, ""), done.err
    song = sheet(done)
    assert sheet(cli(*words)) == song
    assert sheet(cli("compose", "a sad song about rain", "--seed", "4", "--json")) != song


def test_what_must_be_in_it_is(cli: Cli) -> None:
    given = ("--bpm", "97", "--keyscale", "Am", "--timesignature", "3/4", "--language", "pt")
    done = cli("compose", "slow", "--lyrics", "la la", *given, "--duration", "30", "--json")
    song = sheet(done)
    assert [song[n] for n in ("bpm", "keyscale", "timesignature", "language", "duration")] == [
        97, "A minor", "3", "pt", 30,
    ]  # fmt: skip
    assert "caption" in cli("compose", "slow", "--seed", "1", "--quiet").out


@pytest.mark.ci
def test_a_rendered_song_is_understood(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A song of two seconds: encoding sound is what takes long.
    monkeypatch.setenv("ACESTEP_MAX_DURATION", "2")
    monkeypatch.setattr("headroom.models.acestep.song.compose.LEAST_FRAMES", 50)
    made = cli(
        "generate", "slow bossa nova", "--thinking", "--duration", "10", "--inference-steps", "1",
        "--seed", "2", "-o", "song.wav", "--quiet",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert soundfile.info("song.wav").frames == 2 * 48_000
    monkeypatch.delenv("ACESTEP_MAX_DURATION")
    done = cli("understand", "song.wav", "--seed", "1", "--json")
    assert done.code == 0, done.err
    sheet(done)
    sheet(cli("understand", "1,2,3,400", "--seed", "1", "--json"))
    sheet(cli("understand", "<|audio_code_1|><|audio_code_2|>", "--seed", "1", "--json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compose",), "caption"),
        (("compose", "x", "--temperature", "-9"), "temperature"),
        (("compose", "x", "--top-p", "many"), "top_p"),
        (("compose", "x", "--seed", "-2"), "seed"),
        (("compose", "x", "--lyrics", "@nowhere.txt"), "lyrics"),
        (("compose", "x", "--sparkle"), "--sparkle"),
        (("understand", "nowhere.wav"), "nowhere.wav"),
        (("understand", "64000"), "codes"),
    ],
)
def test_what_is_wrong_is_a_sentence(cli: Cli, words: tuple[str, ...], said: str) -> None:
    done = cli(*words)
    assert done.code == 2 and said in done.err and done.out == "", done.err


def test_silence_cannot_be_understood(cli: Cli, home: Path) -> None:
    soundfile.write(home / "silence.wav", np.zeros((48_000, 2)), 48_000)
    done = cli("understand", "silence.wav")
    assert done.code == 2 and "silent" in done.err
