"""A size of card that a setting names is said, with its tier, by every command that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headroom.engine.opening import Opening
from headroom.profiler.console import Console
from headroom.profiler.main import _opened
from headroom.profiler.options import Options
from headroom.settings import load
from unit.cli.conftest import Cli

SAID = "card: asked 8 GB by MAX_CUDA_VRAM, used tier 4"


@pytest.fixture(autouse=True)
def eight(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CUDA_VRAM", "8")


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "x", "--duration", "10", "--inference-steps", "1", "--dtype", "float32"),
        ("score", "1,2,3", "--caption", "sad"),
        ("plan", "x"),
    ],
)
def test_on_standard_error_or_in_the_json(cli: Cli, words: tuple[str, ...]) -> None:
    told = cli(*words)
    assert (told.code, told.err.count(SAID)) == (0, 1), told.err
    assert SAID not in told.out
    whole = cli(*words, "--json")
    (note,) = [n for n in json.loads(whole.out)["notes"] if n["field"] == "card"]
    assert (note["used"], note["sentence"].startswith(SAID), whole.err) == ("tier 4", True, "")


def test_when_profiling(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load()
    engine = _opened(Options(Opening(settings)), Console())
    assert engine.policy.notes and SAID in capsys.readouterr().err
