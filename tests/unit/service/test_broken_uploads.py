"""Uploads that are broken or built to do harm: each is refused, or a file like any other."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from support.web import Service, wav


def encoded(samples: Any, rate: int = 8000, **options: Any) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, **options)
    return out.getvalue()


def header(
    channels: int = 1, rate: int = 8000, bits: int = 16, claimed: int | None = None
) -> bytes:
    """A WAV file with a second of silence at 8 kHz, whose header claims something else."""
    data = bytes(16000)
    step = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * step & 0xFFFFFFFF, step & 0xFFFF, bits)
    size = len(data) if claimed is None else claimed
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tone(seconds: float = 1.0) -> Any:
    return 0.1 * np.sin(np.arange(int(8000 * seconds)) / 3)


def silence(seconds: int) -> bytes:
    """Hours in some kilobytes."""
    made = encoded(np.zeros(1000 * seconds, np.int16), 1000, format="FLAC")
    assert len(made) < 200_000
    return made


FLAC = encoded(tone(), format="FLAC")
REFUSED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "a page": lambda: b"<html><body>sound</body></html>",
    "a header alone": lambda: wav()[:44],
    "half a header": lambda: wav()[:20],
    "no channels": lambda: header(channels=0),
    "no rate": lambda: header(rate=0),
    "no bits": lambda: header(bits=0),
    "very many channels": lambda: header(channels=65535),
    "two hours of silence": lambda: silence(7200),
    "a stream that says it is FLAC": lambda: b"fLaC" + bytes(range(256)) * 40,
    "tags without end": lambda: b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(1000),
    "a box without end": lambda: b"\0\0\0\x20ftypM4A " + b"\xff" * 1000,
}
USED: dict[str, Callable[[], bytes]] = {
    "cut off WAV": lambda: wav(8.0)[: len(wav(8.0)) // 2],
    "more claimed than there": lambda: header(claimed=0x7FFFFFFF),
    "cut off FLAC": lambda: FLAC[: len(FLAC) // 2],
    "a rate beyond belief": lambda: header(rate=0xFFFFFFFF),
    "no numbers": lambda: encoded(np.full(80000, np.nan), format="WAV", subtype="FLOAT"),
    "without bounds": lambda: encoded(np.full(80000, np.inf), format="WAV", subtype="FLOAT"),
    "an hour of silence": lambda: silence(3599),
}


@pytest.fixture
def left(service: Service) -> Callable[[], list[Path]]:
    """What the storage holds, stored and on its way in."""
    storage = service.doors.files.storage
    return lambda: [*storage.staging.iterdir(), *(Path(one.key) for one in storage.stored())]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_sound_is_refused_and_leaves_nothing(
    service: Service, left: Callable[[], list[Path]], kind: str
) -> None:
    answer = service.client.post("/v1/files?name=a.wav", content=REFUSED[kind]())
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid_source"
    assert left() == []


@pytest.mark.parametrize("kind", USED)
def test_what_may_be_sound_can_be_asked_about_like_any_other(
    service: Service, left: Callable[[], list[Path]], kind: str
) -> None:
    answer = service.client.post("/v1/files?name=a.wav", content=USED[kind]())
    if answer.status_code == 422:
        assert answer.json()["code"] == "invalid_source" and left() == []
        return
    file = answer.json()
    assert answer.status_code == 201 and 0 < file["seconds"] <= 3600
    asked = {"task": "cover", "caption": "x", "source_audio": file["id"]}
    plan = service.client.post("/v1/plan", json=asked)
    assert plan.status_code in (200, 422), plan.text
    if plan.status_code == 422:
        assert plan.json()["values"]["field"] == "source_audio"


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..\\..\\x.wav", "/etc/passwd", "C:\\x", "CON", "a\0b", "\r\nX: y",
     "n" * 5000, ".", "..", "\u202egpj.wav", "%2e%2e%2fx"],
)  # fmt: skip
def test_a_name_with_tricks_is_shown_and_nothing_else(
    service: Service, tmp_path: Path, name: str
) -> None:
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "data")}
    answer = service.client.post("/v1/files", params={"name": name}, content=wav())
    assert answer.status_code in (201, 422)
    if answer.status_code == 201:
        shown = answer.json()["name"]
        assert len(shown) <= 300 and shown.isprintable()
    after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "data")}
    assert after == before
    names = {path.name for path in (tmp_path / "data").rglob("*")}
    assert not any("passwd" in one or "x.wav" in one for one in names)
