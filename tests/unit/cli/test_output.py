from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from safetensors.torch import load_file

from headroom.cli import output
from headroom.cli.output import (
    Place,
    Saved,
    as_json,
    check_latents,
    container,
    place,
    save,
    slug,
    tell_report,
)
from headroom.engine.engine import Engine
from headroom.engine.result import Report, Result, StageReport
from headroom.errors import InvalidOutput, InvalidRequest
from tone_model.requests import Tone


@pytest.fixture(scope="module")
def result() -> Result:
    engine = Engine(device="cpu", family="tone")
    return engine.generate(Tone(duration=0.2, seeds=(5, 6), brightness=0.5, frequency=50_000))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("Slow bossa nova, nylon guitar", "slow-bossa-nova-nylon-guitar"),
        ("  ../../etc/passwd  ", "etc-passwd"),
        ("Élan — 春の歌", "élan-春の歌"),
        ("a:b*c?d|e<f>g\\h_i", "a-b-c-d-e-f-g-h-i"),
        ("", "song"),
        ("…!", "song"),
        ("x" * 100, "x" * 40),
        ("word " * 30, "word-word-word-word-word-word-word-word"),
    ],
)
def test_a_caption_becomes_a_name(words: str, part: str) -> None:
    assert slug(words) == part


def test_a_name_nobody_gave_is_never_one_in_use(tmp_path: Path) -> None:
    where = Place("flac", tmp_path)
    assert where.path("Jazz", 7, 2) == tmp_path / "jazz-7.flac"
    (tmp_path / "jazz-7-2.json").touch()  # the sidecar the second song would replace
    assert where.path("Jazz", 7, 2) == tmp_path / "jazz-7-3.flac"
    assert where.path("Jazz", 7, 1) == tmp_path / "jazz-7.flac"
    (tmp_path / "jazz-7.json").touch()
    assert where.path("Jazz", 7, 1) == tmp_path / "jazz-7-3.flac"


def test_a_name_somebody_gave_is_taken_as_it_is(tmp_path: Path) -> None:
    named = tmp_path / "mine.wav"
    named.touch()
    assert place(str(named), None, "flac", tmp_path).path("Jazz", 7, 2) == named


@pytest.mark.parametrize(
    ("named", "asked", "found"),
    [
        ("a.wav", None, "wav"),
        ("a.wav", "wav24", "wav24"),
        ("a.WAV", "wav32", "wav32"),
        ("a.mp3", None, "mp3"),
        ("a.oga", "ogg", "ogg"),
        (None, None, "flac"),
        (None, "wav24", "wav24"),
    ],
)
def test_the_name_and_the_request_decide_the_format(
    tmp_path: Path, named: str | None, asked: output.Format | None, found: str
) -> None:
    where = place(str(tmp_path / named) if named else None, asked, "flac", tmp_path)
    assert where.format == found
    assert where.path("x", 1, 1).suffix.lower() in (f".{container(where.format)}", ".oga")
    assert files(tmp_path) == []


def test_a_name_and_a_request_that_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="audio_format: 'mp3' is not allowed; allowed: wav"):
        place(str(tmp_path / "a.wav"), "mp3", "flac", tmp_path)


@pytest.mark.parametrize("named", ["a.txt", "a", ".", "there", "file/a.wav", "file/sub/a.wav"])
def test_a_place_that_cannot_take_a_song_is_refused(tmp_path: Path, named: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    before = files(tmp_path)
    with pytest.raises(InvalidOutput) as caught:
        place(str(tmp_path / named), None, "flac", tmp_path)
    assert caught.value.field == "output"
    assert caught.value.path == str(tmp_path / named)
    assert files(tmp_path) == before


def test_a_folder_that_takes_no_file_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: Path) -> IO[bytes]:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(output.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InvalidOutput, match=r"output folder: .*Read-only file system"):
        place(None, None, "flac", tmp_path / "new")
    assert files(tmp_path) == []


def test_somebody_elses_json_is_not_replaced_and_our_own_is(tmp_path: Path) -> None:
    beside = tmp_path / "a.json"
    beside.write_text('{"mine": 1}')
    with pytest.raises(InvalidOutput, match=r"'a\.json'"):
        place(str(tmp_path / "a.wav"), None, "flac", tmp_path)
    beside.write_text('{\n "provenance": {}}')
    assert place(str(tmp_path / "a.wav"), None, "flac", tmp_path).format == "wav"


def test_latents_go_into_a_safetensors_file_only(tmp_path: Path) -> None:
    assert check_latents(None) is None
    assert check_latents(str(tmp_path / "l.safetensors")) == tmp_path / "l.safetensors"
    for name in ("l.pt", "l", "file/l.safetensors"):
        (tmp_path / "file").touch()
        with pytest.raises(InvalidOutput, match="save_latents"):
            check_latents(str(tmp_path / name))


def test_songs_and_latents_are_written_together(tmp_path: Path, result: Result) -> None:
    where = Place("wav", tmp_path / "new")
    saved = save(result, where, "A tone", tmp_path / "l.safetensors")
    assert [path.name for path in saved.paths] == ["a-tone-5.wav", "a-tone-5-2.wav"]
    tensors = load_file(tmp_path / "l.safetensors")
    assert {name: (t.shape[0], str(t.dtype)) for name, t in tensors.items()} == {
        "latents": (2, "torch.float32")
    }


def test_a_failure_leaves_neither_songs_nor_latents(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headroom.audio.encode as encode

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(encode, "_encode", full)
    with pytest.raises(InvalidOutput, match="no room is left"):
        save(result, Place("wav", tmp_path / "new"), "x", tmp_path / "l.safetensors")
    assert files(tmp_path) == []


def test_the_report_says_what_was_planned_beside_what_was_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stages = (
        StageReport("denoise", 3 << 30, 2 << 30, 11.0, 12.0, 0.5),
        StageReport("decode", 0, 5 << 20, 0.0, 2.0, 0.0),
    )
    report = Report(stages, 15.0, "flash attention", "--policy adaptive would take less")
    tell_report([report], stages=True)
    lines = [
        "denoise: 12 s (11 s planned), 0.5 s of it loading, 2.00 GiB (3.00 GiB planned)",
        "decode: 2.0 s, 5 MiB",
        "attention by flash attention",
        "advice: --policy adaptive would take less",
    ]
    assert capsys.readouterr().err.splitlines() == lines
    tell_report([report], stages=False)
    assert capsys.readouterr().err.splitlines() == lines[2:]


def test_the_json_says_outputs_report_and_notes(tmp_path: Path, result: Result) -> None:
    saved = [Saved(result, (tmp_path / "a.wav", tmp_path / "a-2.wav"))] * 2
    value = json.loads(json.dumps(as_json(saved), allow_nan=False))
    assert list(value) == ["outputs", "report", "notes"]
    assert value["outputs"][1] == {
        "path": str(tmp_path / "a-2.wav"),
        "seed": 6,
        "duration": result.audios[1].seconds,
        "request": 0,
    }
    assert [one["request"] for one in value["outputs"]] == [0, 0, 1, 1]
    stages = value["report"]["stages"]  # of the one pass both came from
    assert [stage["stage"] for stage in stages] == ["denoise", "decode"]
    assert {"planned_bytes", "measured_bytes", "planned_seconds", "seconds"} < set(stages[0])
    assert value["report"]["seconds"] == result.report.seconds
    assert value["report"]["planned_bytes"] == result.report.planned_bytes
    assert value["report"]["attention"] and value["report"]["advice"] is None
    (note,) = [n for n in value["notes"] if n["field"] == "frequency" and n["request"] == 0]
    assert (note["asked"], note["used"]) == (50_000, 20_000)
    assert note["why"] in note["sentence"]


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
