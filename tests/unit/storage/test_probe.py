"""What an uploaded file holds is known before it is accepted."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from headroom.errors import InvalidSource
from headroom.storage import probe as probe_module
from headroom.storage.probe import kind_of, probe

RATE = 8000


def sound(path: Path, seconds: float = 1.5, **options: str) -> Path:
    soundfile.write(path, np.zeros((int(seconds * RATE), 2), np.float32), RATE, **options)
    return path


@pytest.mark.parametrize(
    ("ending", "kind", "options"),
    [
        ("wav", "audio/wav", {}),
        ("flac", "audio/flac", {}),
        ("ogg", "audio/ogg", {}),
        ("mp3", "audio/mpeg", {}),
        ("aiff", "audio/aiff", {}),
    ],
)
def test_kind_and_length(tmp_path: Path, ending: str, kind: str, options: dict[str, str]) -> None:
    found = probe(sound(tmp_path / f"a.{ending}", **options), "song")
    assert found.kind == kind
    assert found.seconds == pytest.approx(1.5, abs=0.1)


def test_the_name_of_a_file_decides_nothing(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.flac").rename(tmp_path / "a.mp3")
    assert probe(path, "a.mp3").kind == "audio/flac"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not audio of a known kind"),
        (b"%PDF-1.7 and so on and on", "not audio of a known kind"),
        (b"RIFF\x24\0\0\0WAVEfmt nonsense", "cannot be read"),
        (b"\x1aE\xdf\xa3" + bytes(99), "cannot be read"),
        (b"OggS" + bytes(99), "cannot be read"),
    ],
)
def test_what_is_no_audio_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "secret place"
    path.write_bytes(data)
    with pytest.raises(InvalidSource, match=why) as raised:
        probe(path, "song.wav", field="file")
    assert raised.value.field == "file" and "'song.wav'" in str(raised.value)
    assert "secret place" not in str(raised.value)


def test_what_lasts_too_long_is_refused(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", 3.0)
    assert probe(path, "a", most=3.0).seconds == 3.0
    with pytest.raises(InvalidSource, match="lasts 3 s or more"):
        probe(path, "a", most=2.9)


def test_a_decoder_that_loops_costs_its_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "_START", "def main():\n while True: pass\n\n0")
    began = time.monotonic()
    with pytest.raises(InvalidSource, match="took longer than"):
        probe(sound(tmp_path / "a.wav"), "a", seconds=0.5)
    assert time.monotonic() - began < 10


def test_a_decoder_that_crashes_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "import os\nmain = os.abort"
    monkeypatch.setattr(probe_module, "_START", crash)
    with pytest.raises(InvalidSource, match="made the decoder end"):
        probe(sound(tmp_path / "a.wav"), "a")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"\xff\xfb\x90\x00", "audio/mpeg"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b"\xff", None),
        (b"<html>", None),
    ],
)
def test_kinds_by_first_bytes(head: bytes, kind: str | None) -> None:
    assert kind_of(head) == kind
