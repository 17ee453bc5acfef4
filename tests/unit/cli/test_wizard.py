"""`acestep wizard`: answers from a terminal or a pipe become a command line."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from headroom.cli import generate
from headroom.cli.main import STOPPED
from headroom.cli.wizard import words_of
from unit.cli.conftest import Cli, Done, cli, home

__all__ = ["cli", "home"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="quotes are those of a POSIX shell")


@pytest.fixture
def asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`asked("an answer", …)`: the wizard with these lines on standard input."""

    def call(*answers: str) -> Done:
        text = "".join(f"{line}\n" for line in answers)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return cli("wizard")

    return call


def test_answers_become_a_command_and_nothing_is_made(asked: Cli, home: Path) -> None:
    done = asked("slow 'bossa' nova", "la la", "1:30", "y", "")
    assert done.code == 0
    said = shlex.split(done.out)
    assert said[:3] == ["acestep", "generate", "slow 'bossa' nova"]
    assert sorted(said[3:]) == ["--duration=90", "--lyrics=la la", "--thinking"]
    assert list(home.iterdir()) == []
    assert "What should it sound like?" in done.err and "?" not in done.out


@pytest.mark.parametrize(
    "answers", [("slow",), ("slow", ""), ("slow", "", "", ""), ("slow", "", "")]
)
def test_answers_may_end_behind_the_first(asked: Cli, answers: Sequence[str]) -> None:
    done = asked(*answers)
    assert (done.code, shlex.split(done.out)[:3]) == (0, ["acestep", "generate", "slow"])
    assert ("--instrumental" in done.out) == (len(answers) > 1)


def test_no_answers_are_no_command(asked: Cli) -> None:
    for answers in ((), ("",), ("  ", "")):
        done = asked(*answers)
        assert (done.code, done.out) == (STOPPED, "")
        assert done.err.endswith("stopped.\n")


def test_what_a_request_does_not_take_is_asked_again(asked: Cli) -> None:
    done = asked("", "slow", "@nowhere.txt", "", "soon", "nan", "40", "n")
    assert (done.code, done.out) == (0, "acestep generate slow --instrumental --duration=40\n")
    for said in ("caption: ''", "'@nowhere.txt' is not there", "duration: 'soon'", "'nan'"):
        assert said in done.err


def test_ctrl_c_is_an_end(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pressed(io.StringIO):
        def readline(self, size: int | None = -1, /) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Pressed())
    done = cli("wizard")
    assert (done.code, done.out) == (STOPPED, "")


def test_the_song_is_made_by_the_same_words(asked: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Sequence[str]] = []
    monkeypatch.setattr(generate, "run", lambda words: made.append(words) or 7)
    done = asked("slow", "", "", "", "yes")
    assert done.code == 7 and made == [shlex.split(done.out)[2:]]
    assert "--force" not in made[0] and "-o" not in made[0]


def test_a_caption_like_a_flag_is_a_caption() -> None:
    assert words_of({"caption": "--slow"}) == ["--caption=--slow"]
    assert words_of({"caption": "slow", "lyrics": "@home"}) == ["slow", "--lyrics=@@home"]
    assert words_of({"lyrics": "la"}) == ["--lyrics=la"]
