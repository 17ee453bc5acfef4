"""Songs in other formats than they are stored in."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path

import pytest
import soundfile
from starlette.testclient import TestClient

from headroom.audio.tags import TITLE, read_tags, write_tags
from headroom.service import renditions
from support.web import Service, wav


@pytest.fixture
def song(service: Service, tmp_path: Path) -> str:
    """The path of an output: a FLAC file with tags."""
    job = service.submit()
    from headroom.jobs.values import Made
    from headroom.jobs.worker import Worker

    worker = Worker(service.doors.database, "pretended")
    claim = worker.claim()
    assert claim is not None
    flac = tmp_path / "song.flac"
    samples, rate = soundfile.read(io.BytesIO(wav(0.5)))
    soundfile.write(flac, samples, rate)
    write_tags(flac, {TITLE: "My song", "SEED": "7"})
    file = service.doors.files.add(flac, "", "song-7.flac", "audio/flac", 0.5)
    worker.finish(claim, "{}", [Made(file.id, "My song")])
    return f"/v1/jobs/{job}/outputs/1"


@pytest.fixture
def client(service: Service) -> TestClient:
    return service.client


def test_a_song_is_converted_with_its_tags_once(
    client: TestClient, song: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = client.get(song)
    answer = client.get(song, params={"format": "mp3", "bitrate": 96})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")
    assert "''My%20song.mp3" in answer.headers["content-disposition"]
    assert "''My%20song.flac" in stored.headers["content-disposition"]
    file = tmp_path / "song.mp3"
    file.write_bytes(answer.content)
    assert read_tags(file)[TITLE] == "My song" and read_tags(file)["SEED"] == "7"
    assert soundfile.info(file).duration == pytest.approx(0.5, abs=0.1)
    monkeypatch.setattr(renditions, "_convert", None)  # not asked again
    again = client.get(song, params={"format": "mp3", "bitrate": 96})
    assert again.content == answer.content
    part = client.get(
        song, params={"format": "mp3", "bitrate": 96}, headers={"Range": "bytes=10-19"}
    )
    assert (part.status_code, part.content) == (206, answer.content[10:20])
    tag = {"If-None-Match": answer.headers["etag"]}
    assert client.get(song, params={"format": "mp3", "bitrate": 96}, headers=tag).status_code == 304
    assert client.get(song, params={"format": "flac"}).content == stored.content


def test_the_samples_stay(client: TestClient, song: str) -> None:
    near, _ = soundfile.read(io.BytesIO(client.get(song).content))
    far, rate = soundfile.read(io.BytesIO(client.get(song, params={"format": "wav24"}).content))
    assert rate == 8000 and (near == far).all()


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"format": "../x"}, "format"),
        ({"format": "mp3", "bitrate": 4}, "bitrate"),
        ({"format": "mp3", "bitrate": "x"}, "bitrate"),
    ],
)
def test_what_is_no_format(
    client: TestClient, song: str, params: dict[str, object], field: str
) -> None:
    answer = client.get(song, params=params)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["values"]["field"]) == (422, field)


def test_a_format_that_cannot_hold_it(
    client: TestClient, song: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Done:
        stdout = json.dumps({"why": "cannot hold a rate of 7 Hz as MP3"}).encode()

    monkeypatch.setattr(renditions.subprocess, "run", lambda *words, **more: Done)
    answer = client.get(song, params={"format": "mp3"})
    assert answer.status_code == 422 and "rate of 7 Hz" in answer.json()["message"]
    Done.stdout = b""
    assert client.get(song, params={"format": "mp3"}).status_code == 503


def test_the_cache_does_not_grow_without_end(tmp_path: Path) -> None:
    kept = renditions.Renditions(tmp_path, most=250)
    folder = tmp_path / renditions.FOLDER
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.x").write_bytes(bytes(100))
    for number in range(4):
        os.utime(folder / f"{number}.x", (number, number))
    for name, age in (("making-left", 3600), ("making-now", 0)):
        (folder / name).mkdir()
        (folder / name / "song.mp3").write_bytes(b"half")
        os.utime(folder / name, (time.time() - age,) * 2)
    kept._trim(renditions.Rendition(folder / "3.x", "x", 100, "audio/mpeg", "3"))
    assert sorted(path.name for path in folder.iterdir()) == ["2.x", "3.x", "making-now"]


def test_a_rendition_that_another_process_removes_is_made_again(
    client: TestClient, song: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.get(song, params={"format": "mp3"})
    assert first.status_code == 200
    ask = renditions.kind_in
    gone: list[Path] = []

    def removed_before_the_look(path: Path) -> str | None:
        if not gone:
            gone.append(path)
            path.unlink()
        return ask(path)

    monkeypatch.setattr(renditions, "kind_in", removed_before_the_look)
    again = client.get(song, params={"format": "mp3"})
    assert gone and again.status_code == 200 and again.content == first.content
