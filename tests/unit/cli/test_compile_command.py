"""`acestep compile`: processes in turn, and what is remembered decides later runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from headroom.cli import compile as command
from headroom.cli.main import main
from headroom.engine.engine import Engine
from headroom.runtime import compile_choice, compiled
from headroom.settings import load
from support.clock import Clock


class Programs:
    """Stands for the processes: they take the time they are said to."""

    def __init__(self, clock: Clock, eager: float, compiled: float, code: int = 0) -> None:
        self._clock, self._times, self._code = clock, (eager, compiled), code
        self.ran: list[list[str]] = []

    def run(self, words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.ran.append(words)
        self._clock.now += self._times["--compile" in words]
        return subprocess.CompletedProcess(words, self._code)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADROOM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "compiler", lambda device: "g++")
    monkeypatch.setattr(compile_choice, "compiler", lambda device: "g++")


def tried(
    monkeypatch: pytest.MonkeyPatch, eager: float, compiled: float, code: int = 0
) -> Programs:
    clock = Clock()
    programs = Programs(clock, eager, compiled, code)
    monkeypatch.setattr(command.subprocess, "run", programs.run)
    monkeypatch.setattr(command.time, "perf_counter", clock.perf_counter)
    return programs


@pytest.mark.parametrize(("eager", "compiled", "pays"), [(20.0, 12.0, True), (12.0, 20.0, False)])
def test_later_runs_do_what_was_faster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    eager: float, compiled: float, pays: bool,
) -> None:  # fmt: skip
    programs = tried(monkeypatch, eager, compiled)
    assert not Engine("cpu", settings=load()).model.numerics().compiled
    assert main(["compile", "--device", "cpu", "--rounds", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["eager"], said["compiled"], said["pays"]) == (eager, compiled, pays)
    kinds = ["--compile" in words for words in programs.ran]
    assert kinds == [True, False, True, False, True]  # the cache is filled, then in turn
    assert all(words[words.index("--device") + 1] == "cpu" for words in programs.ran)
    later = Engine("cpu", settings=load())
    assert later.model.numerics().compiled is pays
    assert not Engine("cpu", compile=False, settings=load()).model.numerics().compiled


def test_a_song_that_fails_leaves_nothing_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = tried(monkeypatch, 1.0, 1.0, code=3)
    assert main(["compile", "--device", "cpu"]) == 3
    assert len(programs.ran) == 1 and not (tmp_path / "cache" / compile_choice.FILE).exists()


@pytest.mark.parametrize(
    ("words", "field"),
    [(["--rounds", "0"], "rounds"), (["--duration", "nan"], "duration"),
     (["--duration", "0:05"], "duration"),
     (["--compile"], "compile"),
     (["--duration", "1e300"], "duration"), (["--rounds", "two"], "rounds")],
)  # fmt: skip
def test_nonsense_is_refused_before_a_song_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], field: str,
) -> None:  # fmt: skip
    programs = tried(monkeypatch, 1.0, 1.0)
    assert main(["compile", "--device", "cpu", *words]) == 2
    assert f"error: {field}" in capsys.readouterr().err and programs.ran == []


@pytest.mark.parametrize("name", ["HEADROOM_COMPILE", "ACESTEP_COMPILE_MODEL"])
def test_the_setting_is_in_force_and_the_argument_goes_before_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "true")
    assert Engine("cpu", settings=load()).model.numerics().compiled
    assert not Engine("cpu", compile=False, settings=load()).model.numerics().compiled
    monkeypatch.setenv(name, "false")
    assert not Engine("cpu", settings=load()).model.numerics().compiled
    assert Engine("cpu", compile=True, settings=load()).model.numerics().compiled


def test_compiling_that_was_asked_for_and_is_left_out_is_in_the_notes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compile_choice, "compiler", lambda device: None)
    asked = Engine("cpu", compile=True, settings=load())
    (note,) = (n for n in asked.notes if n.field == "compile")
    assert "no compiler for cpu was found" in note.sentence()
    assert not [n for n in Engine("cpu", settings=load()).notes if n.field == "compile"]
