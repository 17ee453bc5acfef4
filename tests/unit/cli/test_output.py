from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest
from safetensors.torch import load_file

from headroom.audio.claims import ReservedName
from headroom.cli import folders, output
from headroom.cli.output import (
    Place,
    Saved,
    as_json,
    check_latents,
    container,
    held_latents,
    place,
    save,
    slug,
    tell_report,
)
from headroom.engine.engine import Engine
from headroom.engine.names import Names, Wanted
from headroom.engine.report import Report, StageReport
from headroom.engine.result import Result
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
    (tmp_path / "jazz-7-2.json").touch()  # the sidecar the second song would replace
    wanted = Place("flac", tmp_path).wanted("Jazz", 7, lrc=False)
    with Names(wanted) as names, Names(wanted) as others:
        found = [spot.song.path.name for spot in names.hold(2)]
        assert found == ["jazz-7.flac", "jazz-7-3.flac"] and names.notes == ()
        assert others.hold(1)[0].song.path.name == "jazz-7-4.flac"


def test_a_name_somebody_gave_is_taken_as_it_is(tmp_path: Path) -> None:
    named = tmp_path / "mine.wav"
    wanted = place(str(named), None, "flac", tmp_path).wanted("Jazz", 7, lrc=False)
    assert wanted == Wanted(named)


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
    assert where.wanted("x", 1, lrc=False).path.suffix.lower() in (
        f".{container(where.format)}",
        ".oga",
    )
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

    monkeypatch.setattr(folders.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InvalidOutput, match=r"output folder: .*Read-only file system"):
        place(None, None, "flac", tmp_path / "new")
    assert files(tmp_path) == []


def test_latents_go_into_a_safetensors_file_only(tmp_path: Path) -> None:
    assert check_latents(None) is None
    assert check_latents(str(tmp_path / "l.safetensors")) == tmp_path / "l.safetensors"
    for name in ("l.pt", "l", "file/l.safetensors"):
        (tmp_path / "file").touch()
        with pytest.raises(InvalidOutput, match="save_latents"):
            check_latents(str(tmp_path / name))


def written(
    result: Result, folder: Path, latents: Path, spare: Sequence[Path], force: bool = False
) -> Saved:
    """Songs as `new/x.wav` in the folder, and the latents."""
    wanted = Wanted(folder / "new" / "x.wav", force=force)
    with Names(wanted) as names, held_latents(latents, {}, force) as held:
        names.hold(2)
        return save(result, names, "wav", held, spare)


def test_songs_and_latents_are_written(tmp_path: Path, result: Result) -> None:
    saved = written(result, tmp_path, tmp_path / "l.safetensors", ())
    assert saved.paths == (tmp_path / "new" / "x.wav", tmp_path / "new" / "x-2.wav")
    assert not saved.rescued and saved.notes == ()
    tensors = load_file(tmp_path / "l.safetensors")
    assert {name: (t.shape[0], str(t.dtype)) for name, t in tensors.items()} == {
        "latents": (2, "torch.float32")
    }


def test_latents_replace_nothing_without_force(tmp_path: Path, result: Result) -> None:
    latents = tmp_path / "l.safetensors"
    latents.write_bytes(b"theirs")
    with pytest.raises(InvalidOutput, match=r"save_latents: .*did not make it"):
        written(result, tmp_path, latents, ())
    assert latents.read_bytes() == b"theirs"
    assert files(tmp_path) == ["l.safetensors"]
    written(result, tmp_path, latents, (), force=True)
    before = latents.read_bytes()
    assert load_file(latents)["latents"].shape[0] == 2
    written(result, tmp_path, latents, ())
    assert latents.read_bytes() == before
    assert load_file(tmp_path / "l-2.safetensors")["latents"].shape[0] == 2


def broken(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """No file can be written in folders of these names any more."""
    begin = ReservedName.begin

    def full(claim: ReservedName) -> Path:
        part = begin(claim)
        if claim.target.parent.name in names:
            part.write_bytes(b"RIFF")
            raise OSError(errno.ENOSPC, "No space left on device")
        return part

    monkeypatch.setattr(ReservedName, "begin", full)


def test_what_cannot_be_written_is_kept_elsewhere_and_the_place_is_said(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders.tempfile, "tempdir", str(tmp_path / "temporary"))
    spare = (tmp_path / "outputs",)
    broken(monkeypatch, "new")
    saved = written(result, tmp_path, tmp_path / "new" / "l.safetensors", spare)
    assert saved.rescued and saved.paths == (spare[0] / "x.wav", spare[0] / "x-2.wav")
    for note, name in zip(saved.notes, ("x.wav", "l.safetensors"), strict=True):
        assert "no room is left on the disk" in note.sentence()
        assert str(spare[0] / name) in note.sentence()
    assert load_file(spare[0] / "l.safetensors")["latents"].shape[0] == 2
    assert as_json([saved])["notes"][-1]["sentence"] == saved.notes[-1].sentence()
    broken(monkeypatch, "new", "outputs")
    saved = written(result, tmp_path, tmp_path / "l.safetensors", spare)
    assert saved.paths[0] == tmp_path / "temporary" / "x.wav"
    assert files(tmp_path / "temporary") == ["x-2.json", "x-2.wav", "x.json", "x.wav"]
    assert not (tmp_path / "new").exists()


def test_a_failure_everywhere_leaves_nothing(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headroom.audio.encode as encode

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(encode, "_encode", full)
    monkeypatch.setattr(folders.tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(InvalidOutput, match="no room is left"):
        written(result, tmp_path, tmp_path / "l.safetensors", (tmp_path / "outputs",))
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
