"""What jobs tell of songs stays with them: scores, and lines for players and archives."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from support.web import Engine, Service
from unit.service.test_library import SONGS, made

LYRICS = "[Verse]\nover the hills\nand far away"


def told(service: Service, song: dict[str, Any], task: str, output: dict[str, Any]) -> None:
    """A job that reads the song's file and answers this."""
    asked = {"task": task, "source_audio": song["file"], "lyrics": LYRICS}
    answer = service.client.post("/v1/jobs", json=asked)
    assert answer.status_code == 202, answer.text
    engine = Engine(service.doors)
    engine.worker.finish(engine.claim(), json.dumps({"output": output}))


def lines(start: float) -> dict[str, Any]:
    texts = ["over the hills", "and far away"]
    timed = [
        {"text": text, "start": start + n, "end": start + n + 1} for n, text in enumerate(texts)
    ]
    return {"kind": "timestamps", "lines": timed, "tokens": [], "notes": [], "score": None}


def test_the_newest_answer_of_each_kind_is_shown_at_the_song(service: Service) -> None:
    song, other = made(service, lyrics=LYRICS), made(service, "Other", lyrics=LYRICS)
    assert (song["answers"], song["lrc"]) == ({}, None)
    for reward in (0.25, 0.75):
        told(service, song, "score", {"kind": "score", "reward": reward, "parts": {}})
    told(service, song, "align_lyrics", lines(0.25))
    shown = service.client.get(f"{SONGS}/{song['id']}").json()
    assert shown["answers"]["score"]["reward"] == 0.75
    assert set(shown["answers"]) == {"score", "timestamps"}
    assert service.client.get(f"{SONGS}/{other['id']}").json()["answers"] == {}


def test_lines_told_since_are_in_the_player_the_file_and_the_archive(service: Service) -> None:
    song = made(service, "Sea / 海", lyrics=LYRICS)
    assert service.client.get(f"{SONGS}/{song['id']}/lrc").status_code == 404
    told(service, song, "align_lyrics", lines(0.25))
    shown = service.client.get(f"{SONGS}/{song['id']}").json()
    answer = service.client.get(shown["lrc"])
    assert answer.text == "[00:00.25]over the hills\n[00:01.25]and far away\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    where = answer.headers["content-disposition"]
    assert where == "attachment; filename*=UTF-8''Sea%20%E6%B5%B7.lrc"
    peaks = service.client.get(f"{song['peaks']}?buckets=4").json()
    assert [one["start"] for one in peaks["lines"]] == [0.25, 1.25]
    assert [one["text"] for one in peaks["sections"]] == ["Verse"]
    packed = service.client.get(f"/v1/library/export?song={song['id']}").content
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.read("Sea 海.lrc").decode() == answer.text


def test_lines_that_were_timed_with_the_song_go_first(service: Service) -> None:
    song = made(service, lyrics=LYRICS, lines=lines(0.5)["lines"])
    told(service, song, "align_lyrics", lines(0.25))
    text = service.client.get(f"{SONGS}/{song['id']}/lrc").text
    assert text.startswith("[00:00.50]over the hills")


@pytest.mark.parametrize("path", ["", "/lrc"])
def test_what_was_told_is_of_no_one_else(service: Service, path: str) -> None:
    song = made(service, lyrics=LYRICS)
    told(service, song, "align_lyrics", lines(0.25))
    other = service.client_at("10.0.0.1", authorization=f"Bearer {service.key('use')[1]}")
    assert service.client.get(f"{SONGS}/{song['id']}{path}").status_code == 200
    assert other.get(f"{SONGS}/{song['id']}{path}").status_code == 404
