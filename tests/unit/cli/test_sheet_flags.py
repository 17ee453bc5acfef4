"""What `compose`, `understand` and `score` take: fields of a request, checked before any work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from headroom.cli import sheet_flags
from headroom.cli.sheet_flags import (
    ALIGN,
    COMPOSE,
    ENCODE,
    SCORE,
    UNDERSTAND,
    Command,
    asked,
    parser,
)
from headroom.errors import HeadroomError
from headroom.models.acestep.requests.language_requests import CreateSample, FormatSample, Score
from headroom.models.acestep.requests.recording_requests import AlignLyrics, EncodeAudio
from headroom.models.acestep.text.vocabulary import LANGUAGES
from unit.cli.conftest import home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")


def request(command: Command, *words: str) -> Any:
    return asked(command, words).request


def shown(command: Command) -> str:
    return " ".join(parser(command).format_help().split())


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (
            COMPOSE,
            (
                "--bpm N Tempo. [30..300 beats a minute] (left open: the language model decides)",
                "--timesignature 2|3|4|6",
                "--duration S Length of the song. [10..600 s]",
                "[one of: A major, A minor, A# major, …]",
                ", ".join(LANGUAGES[:40]),
                "--lm-temperature X How freely it writes; 0: always the likeliest. [0..2] "
                "(default: 0.85)",
                "--use-constrained-decoding, --no-constrained-decoding",
            ),
        ),
        (
            UNDERSTAND,
            (
                "[0..2] (default: 0.3)",
                "--lm-top-p X",
                "--no-constrained-decoding",
                "--source FILE Recording to work on. (left open: codes are read)",
            ),
        ),
        (SCORE, ("[30..300 beats a minute] (left open: it is not scored)", "--vocal-language")),
    ],
)
def test_the_help_has_limits_defaults_and_choices(command: Command, parts: tuple[str, ...]) -> None:
    text = shown(command)
    for part in parts:
        assert part in text, part
    assert ("--bpm" in text) == ("Db major, Db minor" in parser(command).whole_help())
    for older in ("--language ", "--temperature", "--lm-seed"):
        assert older not in text


@pytest.mark.parametrize(
    "line",
    [
        "--vocal-language=pt --lm-temperature=0.5 --lm-top-k=9 --lm-top-p=0.7 --seed=3 "
        "--lm-repetition-penalty=1.5 --no-constrained-decoding",
        "--language=pt-BR --temperature=0.5 --top-k=9 --top_p=0.7 --lm-seed=3 "
        "--repetition-penalty=1.5 --no-use-constrained-decoding",
    ],
)
def test_every_spelling_of_generate_is_taken(line: str) -> None:
    made = request(COMPOSE, "slow", *line.split())
    assert (made.vocal_language, made.lm_temperature, made.lm_top_k) == ("pt", 0.5, 9)
    assert (made.lm_top_p, made.lm_repetition_penalty) == (0.7, 1.5)
    assert (made.use_constrained_decoding, made.seed) == (False, 3)


def test_values_are_those_of_a_request() -> None:
    said = "--bpm=120BPM --key=Am --time-signature=3/4 --duration=1:30 --instrumental"
    assert request(COMPOSE, "slow", *said.split()) == CreateSample(
        caption="slow", bpm=120, keyscale="A minor", timesignature="3", duration=90.0,
        instrumental=True,
    )  # fmt: skip
    both = request(COMPOSE, "--prompt", "slow", "--lyrics", "la")
    assert both == FormatSample(caption="slow", lyrics="la")
    open_ = request(COMPOSE, "x", "--bpm=auto", "--language=auto", "--seed", "-1", "--key=unknown")
    assert open_ == CreateSample(caption="x") and open_.seed is None


def test_what_is_scored_is_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    made = request(SCORE, "1,2", "--caption", "slow", "--language", "en", "--seed", "4")
    assert made == Score(audio_codes="1,2", caption="slow", vocal_language="en")
    assert "seed" in caplog.text and "nothing is drawn here" in caplog.text
    caplog.clear()
    assert request(UNDERSTAND, "1,2", "--seed", "4").seed == 4 and not caplog.text


def test_codes_and_recordings_have_flags_too(home: Path) -> None:
    soundfile.write(home / "a.wav", np.ones((4800, 2), np.float32) / 2, 48_000)
    (home / "codes.txt").write_text("1,2,3")
    assert request(UNDERSTAND, "--audio-codes", "1,2").audio_codes == "1,2"
    assert request(UNDERSTAND, "@codes.txt").audio_codes == "1,2,3"
    for words in (["a.wav"], ["--source", "a.wav"], ["--src-audio=a.wav"]):
        assert request(UNDERSTAND, *words).source_audio == Path("a.wav")
        assert request(ENCODE, *words) == EncodeAudio(source_audio=Path("a.wav"))
        made = request(ALIGN, *words, "--lyrics", "la", "--bpm", "90")
        assert made == AlignLyrics(source_audio=Path("a.wav"), lyrics="la", bpm=90)


@pytest.mark.parametrize(
    ("command", "line", "says"),
    [
        (COMPOSE, "x --bpm fast", "bpm: 'fast'.*a whole number from 30 to 300"),
        (COMPOSE, "x --bpm -3", "bpm: '-3'"),
        (COMPOSE, "x --duration nan", "duration: 'nan'.*a number from 10 to 600 s"),
        (COMPOSE, "x --language klingon", "vocal_language: 'klingon'.*zh, unknown"),
        (COMPOSE, "x --keyscale H-dur", "keyscale: 'H-dur'"),
        (COMPOSE, "x --timesignature 5", "timesignature: '5'.*2, 3, 4, 6"),
        (COMPOSE, "x --lm-temperature nan", "lm_temperature: 'nan'"),
        (COMPOSE, "x --temperature -9", "temperature: '-9'.*from 0 to 2"),
        (COMPOSE, "x --top-k 1.5", "lm_top_k: '1.5'"),
        (COMPOSE, "x --seed -2", "seed: '-2'"),
        (COMPOSE, "x --lm-temperature 1 --temperature 2", "two spellings"),
        (COMPOSE, "x --caption y", "one caption, not two"),
        (COMPOSE, "x --lm-tempratur 1", "did you mean --lm-temperature"),
        (COMPOSE, "", "caption"),
        (UNDERSTAND, "", "source: ''.*a recording, or audio codes"),
        (UNDERSTAND, "1,2 --source a.wav", "one of them"),
        (UNDERSTAND, "64000", "codes: 64000"),
        (UNDERSTAND, "nowhere.wav", "nowhere.wav"),
        (UNDERSTAND, "words.txt", "source: 'words.txt'"),
        (UNDERSTAND, "x --bpm 3", "--bpm"),
        (SCORE, "1,2", "caption: ''.*to score against"),
        (ENCODE, "1,2", "source: '1,2'.*a recording"),
        (ENCODE, "", "source: ''.*a recording"),
        (ALIGN, "nowhere.wav --lyrics la", "nowhere.wav"),
        (COMPOSE, "x --family tone", "family: 'tone'"),
        (SCORE, "1,2 --device tpu --bpm 90", "device: 'tpu'"),
    ],
)
def test_nonsense_is_refused_before_the_work(
    home: Path, command: Command, line: str, says: str
) -> None:
    (home / "words.txt").write_text("no sound")
    with pytest.raises(HeadroomError, match=says) as error:
        asked(command, line.split())
    assert error.value.exit_code == 2


def test_a_field_is_the_same_in_every_command() -> None:
    for command in (COMPOSE, UNDERSTAND, SCORE, ENCODE, ALIGN):
        names = [param.name for param in sheet_flags.params(command)]
        assert len(set(names)) == len(names)
        text = shown(command)
        assert all(re.search(rf"--{p.flag}\b", text) for p in sheet_flags.params(command))
