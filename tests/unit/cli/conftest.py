"""A clean home for each test, and the program called as a person would call it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from headroom.cli.main import main
from headroom.settings import declared


@dataclass(frozen=True)
class Done:
    """What a call of the program gave back."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in: no settings, no models but the bundled one."""
    for _, setting in declared():
        for name in (setting.name, *setting.replaces):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADROOM_CACHE_DIR", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("generate", …)` in this process."""

    def call(*words: str) -> Done:
        code = main(words)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return call
