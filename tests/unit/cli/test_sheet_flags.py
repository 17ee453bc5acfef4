"""What `compose`, `understand` and `score` take: fields of a request, checked before any work."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from headroom.cli import sheet_flags
from headroom.cli.sheet_flags import COMPOSE, SCORE, UNDERSTAND, Command, asked, parser
from headroom.errors import HeadroomError
from headroom.models.acestep.text.vocabulary import LANGUAGES
from headroom.models.base import SheetWish
from unit.cli.conftest import home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")


def wish(command: Command, *words: str) -> SheetWish:
    return asked(command, words).wish


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
                "--source FILE Recording to work on. -",
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
    made = wish(COMPOSE, "slow", *line.split())
    assert (made.given, made.temperature, made.top_k) == ({"language": "pt"}, 0.5, 9)
    assert (made.top_p, made.penalty, made.constrained, made.seed) == (0.7, 1.5, False, 3)


def test_values_are_those_of_a_request() -> None:
    said = "--bpm=120BPM --key=Am --time-signature=3/4 --duration=1:30 --instrumental"
    made = wish(COMPOSE, "slow", *said.split())
    assert made.given == {
        "bpm": 120, "keyscale": "A minor", "timesignature": "3", "duration": 90.0,
    }  # fmt: skip
    assert (made.act, made.text, made.instrumental) == ("inspire", "slow", True)
    assert made.temperature is made.top_k is made.top_p is made.penalty is None
    assert wish(COMPOSE, "--prompt", "slow", "--lyrics", "la").act == "format"
    open_ = wish(COMPOSE, "x", "--bpm=auto", "--language=auto", "--seed", "-1", "--key=unknown")
    assert open_.given == {} and open_.seed >= 0


def test_what_is_scored_is_what_was_said() -> None:
    made = asked(SCORE, ["1,2", "--caption", "slow", "--language", "en", "--seed", "4"])
    assert made.wish.given == {"caption": "slow", "language": "en"}
    assert made.idle == ("seed",)
    assert asked(UNDERSTAND, ["1,2", "--seed", "4"]).idle == ()


def test_codes_and_recordings_have_flags_too(home: Path) -> None:
    soundfile.write(home / "a.wav", np.ones((4800, 2), np.float32) / 2, 48_000)
    (home / "codes.txt").write_text("1,2,3")
    assert wish(UNDERSTAND, "--audio-codes", "1,2").text == "1,2"
    assert wish(UNDERSTAND, "@codes.txt").text == "1,2,3"
    for words in (["a.wav"], ["--source", "a.wav"], ["--src-audio=a.wav"]):
        assert asked(UNDERSTAND, words).heard == Path("a.wav")


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
        (COMPOSE, "x --temperature 9", "lm_temperature: 9.0.*from 0 to 2"),
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
        (SCORE, "1,2 --bpm 999", "bpm: 999.*from 30 to 300"),
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


def test_every_field_is_one_that_generate_has() -> None:
    for command in (COMPOSE, UNDERSTAND, SCORE):
        names = [param.name for param in sheet_flags.params(command)]
        assert len(set(names)) == len(names)
        text = shown(command)
        assert all(re.search(rf"--{p.flag}\b", text) for p in sheet_flags.params(command))
