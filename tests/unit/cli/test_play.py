"""`--play`: a player that is installed gets the songs, one after another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headroom.cli import play
from headroom.errors import InvalidRequest


def test_the_first_player_that_is_there_plays_every_song(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(
        play.shutil, "which", lambda name: f"/bin/{name}" if name == "mpv" else None
    )
    monkeypatch.setattr(play.subprocess, "run", run)
    play.find_player().play([Path("a.flac"), Path("-b.flac")])
    songs = [str(Path(name).absolute()) for name in ("a.flac", "-b.flac")]
    assert [words[0] for words in ran] == ["/bin/mpv"] * 2
    assert [words[-1] for words in ran] == songs  # absolute: a name is never taken for a flag


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens files by itself")
def test_without_a_player_the_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play.shutil, "which", lambda name: None)
    with pytest.raises(InvalidRequest, match=r"play.*ffplay, mpv"):
        play.find_player()


def test_a_player_that_fails_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play.Player((sys.executable, "-c", "raise SystemExit(3)")).play([tmp_path / "a.flac"])
    assert "ended with 3" in capsys.readouterr().err
    play.Player((str(tmp_path / "none"), "%s")).play([tmp_path / "a.flac"])
    assert "does not start" in capsys.readouterr().err
