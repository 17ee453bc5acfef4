from __future__ import annotations

from pathlib import Path

import pytest

from headroom.cli.replay import check_alone, find
from headroom.engine.engine import Engine
from headroom.engine.options import EngineOptions
from headroom.errors import InvalidOutput, InvalidRequest, InvalidSource
from tone_model.requests import Tone

NO_FLAGS = EngineOptions()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tone: the folder with its song and its sidecar."""
    folder = tmp_path_factory.mktemp("song")
    result = Engine(device="cpu", family="tone").generate(Tone(duration=0.2, seed=5))
    result.save(folder / "a.mp3")
    return folder


@pytest.mark.parametrize("name", ["a.mp3", "a.json"])
def test_the_new_song_has_the_format_of_the_old_one(song: Path, tmp_path: Path, name: str) -> None:
    again = find(song / name, None, tmp_path)
    assert (again.place.format, again.name) == ("mp3", "a")
    assert again.place.wanted("a again", 5, lrc=False).path == tmp_path / "a-again-5.mp3"
    assert again.provenance.seed == 5


def test_a_name_decides_otherwise(song: Path, tmp_path: Path) -> None:
    again = find(song / "a.mp3", str(tmp_path / "b.wav"), tmp_path)
    assert (again.place.format, again.place.named) == ("wav", tmp_path / "b.wav")


def test_a_sidecar_alone_gets_the_usual_format(song: Path, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes((song / "a.json").read_bytes())
    assert find(tmp_path / "b.json", None, tmp_path).place.format == "flac"


def test_the_kind_of_wav_that_was_asked_for_is_kept(song: Path, tmp_path: Path) -> None:
    text = (song / "a.json").read_text(encoding="utf-8")
    (tmp_path / "b.json").write_text(
        text.replace('"values": {', '"values": {"audio_format": "wav24",')
    )
    assert find(tmp_path / "b.json", None, tmp_path).place.format == "wav24"
    named = find(tmp_path / "b.json", str(tmp_path / "c.wav"), tmp_path)
    assert named.place.format == "wav24"
    assert find(tmp_path / "b.json", str(tmp_path / "c.mp3"), tmp_path).place.format == "mp3"


def test_what_cannot_be_replayed_or_written_is_named(song: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSource, match="replay: "):
        find(tmp_path / "absent.json", None, tmp_path)
    with pytest.raises(InvalidOutput, match="output: "):
        find(song / "a.mp3", str(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("fields", "flags", "requests", "named"),
    [
        ({"bpm": "90"}, NO_FLAGS, None, "bpm: '90'"),
        ({}, EngineOptions(dtype="float16"), None, "dtype: 'float16'"),
        ({}, EngineOptions(model="m"), None, "model: 'm'"),
        ({}, EngineOptions(compile=False), None, "compile: False"),
        ({}, EngineOptions(threads=2), None, "threads: 2"),
        ({}, NO_FLAGS, "r.jsonl", "requests: 'r.jsonl'"),
    ],
)
def test_what_the_song_says_is_not_said_again(
    fields: dict[str, object], flags: EngineOptions, requests: str | None, named: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_alone(fields, flags, requests)
    assert str(caught.value).startswith(named)


def test_where_it_is_made_may_be_said(tmp_path: Path) -> None:
    check_alone({}, EngineOptions(device="cpu", checkpoint_dir=tmp_path), None)
