"""What is there keeps its name and its bytes, whatever a run is to write beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headroom.audio import claims
from headroom.audio.lrc import TimedText
from headroom.audio.wave import Audio
from headroom.engine.engine import Engine
from headroom.engine.names import Names, Wanted
from headroom.engine.provenance import read
from headroom.engine.result import Result
from headroom.errors import InvalidOutput
from headroom.models.outputs import Timestamps
from headroom.settings import load
from tone_model.requests import Tone


@pytest.fixture(scope="module")
def two() -> Result:
    """Two short songs."""
    engine = Engine("cpu", family="tone", settings=load({}, None))
    return engine.generate(Tone(duration=0.2, seeds=(5, 6)))


@pytest.fixture(scope="module")
def one() -> Result:
    """A short song."""
    engine = Engine("cpu", family="tone", settings=load({}, None))
    return engine.generate(Tone(duration=0.2, seed=7))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def theirs(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).write_bytes(b"theirs")


def untouched(folder: Path, *files: str) -> bool:
    return all((folder / name).read_bytes() == b"theirs" for name in files)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("file", ["song-2.wav", "song-2.json", "song-2.lrc"])
def test_files_with_the_names_of_further_songs_stay(
    tmp_path: Path, two: Result, file: str, force: bool
) -> None:
    theirs(tmp_path, file)
    paths = two.save(tmp_path / "song.wav", force=force)
    assert [path.name for path in paths] == ["song.wav", "song-3.wav"]
    assert untouched(tmp_path, file)
    assert read(tmp_path / "song-3.json").seed == 6


def test_the_sidecar_of_a_song_in_another_format_stays(tmp_path: Path, one: Result) -> None:
    one.save(tmp_path / "z.mp3")
    before = (tmp_path / "z.json").read_bytes()
    for force in (False, True):
        (path,) = one.save(tmp_path / "z.ogg", force=force)
        assert path.name != "z.ogg"
        assert (tmp_path / "z.json").read_bytes() == before


def test_an_earlier_song_is_replaced_by_force_only(
    tmp_path: Path, one: Result, two: Result, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = one.save(tmp_path / "song.wav")
    before = first.read_bytes()
    with caplog.at_level("WARNING", logger="headroom"):
        assert one.save(first) == (tmp_path / "song-2.wav",)
    assert "output: asked song.wav, used song-2.wav: an earlier song has" in caplog.text
    assert first.read_bytes() == before
    paths = two.save(first, force=True)
    assert [path.name for path in paths] == ["song.wav", "song-3.wav"]
    assert read(first).seed == read(tmp_path / "song.json").seed == 5
    assert read(tmp_path / "song-2.wav").seed == 7


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "opus", "mp3"])
def test_songs_are_known_by_their_tags_in_every_format(
    tmp_path: Path, one: Result, ending: str
) -> None:
    one.save(tmp_path / f"song.{ending}")
    (tmp_path / "song.json").unlink()
    assert one.save(tmp_path / f"song.{ending}") == (tmp_path / f"song-2.{ending}",)


def test_files_of_others_are_refused_without_force(tmp_path: Path, one: Result) -> None:
    for file in ("song.wav", "plain.flac"):
        theirs(tmp_path, file)
        with pytest.raises(InvalidOutput, match="this program did not make it"):
            one.save(tmp_path / file)
        assert untouched(tmp_path, file)
    theirs(tmp_path, "a.json")
    for force in (False, True):
        with pytest.raises(InvalidOutput, match=r"has 'a\.json' beside it"):
            one.save(tmp_path / "a.wav", force=force)
    theirs(tmp_path, "a.wav")
    with pytest.raises(InvalidOutput, match=r"has 'a\.json' beside it"):
        one.save(tmp_path / "a.wav", force=True)
    assert untouched(tmp_path, "a.json", "a.wav")
    assert one.save(tmp_path / "song.wav", force=True) == (tmp_path / "song.wav",)
    assert names(tmp_path) == ["a.json", "a.wav", "plain.flac", "song.json", "song.wav"]


def test_audio_saved_alone_replaces_nothing_either(tmp_path: Path) -> None:
    sound = Audio(torch.zeros(2, 480), 48_000)
    theirs(tmp_path, "a.wav")
    with pytest.raises(InvalidOutput, match="force=True"):
        sound.save(tmp_path / "a.wav")
    assert untouched(tmp_path, "a.wav")
    assert sound.save(tmp_path / "a.wav", force=True) == tmp_path / "a.wav"
    assert not untouched(tmp_path, "a.wav")


def test_a_file_the_request_reads_is_not_replaced(tmp_path: Path, one: Result) -> None:
    source = one.audio.save(tmp_path / "mine.wav")
    (ours,) = one.save(tmp_path / "ours.wav")
    os.link(source, tmp_path / "linked.wav")
    asked = {"source_audio": (source,), "reference_audio": (ours, tmp_path / "absent.wav")}
    for name, field in (
        ("mine.wav", "source_audio"),
        ("linked.wav", "source_audio"),
        ("ours.wav", "reference_audio"),
    ):
        wanted = Wanted(tmp_path / name, inputs=asked)
        with Names(wanted) as held, pytest.raises(InvalidOutput, match=f"is the {field} of this"):
            held.hold(1)
        with Names(replace(wanted, force=True)) as held:
            assert held.hold(1)[0].song.path == tmp_path / name


def timed(result: Result, text: str) -> Result:
    """The result with an LRC file for its song."""
    times = (Timestamps((TimedText(text, 1.0, 2.0),)),)
    return replace(result, output=replace(result.output, timestamps=times))


def test_lines_beside_a_song_are_replaced_only_as_its_own(tmp_path: Path, one: Result) -> None:
    theirs(tmp_path, "song.lrc")
    with pytest.raises(InvalidOutput, match=r"has 'song\.lrc' beside it"):
        timed(one, "la").save(tmp_path / "song.wav")
    assert names(tmp_path) == ["song.lrc"]
    assert one.save(tmp_path / "song.wav") == (tmp_path / "song.wav",)
    with pytest.raises(InvalidOutput, match=r"has 'song\.lrc' beside it"):
        timed(one, "la").save(tmp_path / "song.wav", force=True)
    assert untouched(tmp_path, "song.lrc")
    timed(one, "la").save(tmp_path / "b.wav")
    timed(one, "lu").save(tmp_path / "b.wav", force=True)
    assert (tmp_path / "b.lrc").read_text() == "[00:01.00]lu\n"
    (tmp_path / "b.lrc").write_text("[00:02.00]by hand\n")
    with pytest.raises(InvalidOutput, match=r"has 'b\.lrc' beside it"):
        timed(one, "li").save(tmp_path / "b.wav", force=True)


def test_all_names_are_held_until_they_are_let_go(tmp_path: Path) -> None:
    wanted = Wanted(tmp_path / "song.wav")
    with Names(wanted) as first, Names(wanted) as second, Names(wanted) as third:
        mine = [spot.song.path.name for spot in first.hold(2)]
        other = [spot.song.path.name for spot in second.hold(2)]
        assert mine == ["song.wav", "song-2.wav"]
        assert other == ["song-3.wav", "song-4.wav"]
        assert "another run" in second.notes[0].why
        case = replace(wanted, path=tmp_path / "SONG.ogg", given=False)
        assert third.hold(1)[0].song.path.name == "song-5.wav"
        with Names(case) as fourth:
            assert fourth.hold(1)[0].song.path.name == "SONG-6.ogg"
        first.close()
        assert [spot.song.path.name for spot in first.hold(1)] == ["song.wav"]
    assert names(tmp_path) == []


HOLDER = """
import sys, time
from pathlib import Path
from headroom.engine.names import Names, Wanted
with Names(Wanted(Path(sys.argv[1]))) as held:
    print([spot.song.begin() for spot in held.hold(2)], flush=True)
    time.sleep(60)
"""


def test_a_name_held_by_another_process_is_free_when_it_is_killed(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(song)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert "part" in process.stdout.readline()
        with Names(Wanted(song)) as held:
            assert held.hold(1)[0].song.path.name == "song-3.wav"
        assert len(names(tmp_path)) == 6  # what a living process holds is left alone
    finally:
        process.kill()
        process.communicate()
    (tmp_path / "model.safetensors.0123456789ab.part").touch()  # a download that goes on
    (tmp_path / f".headroom-{'0' * 32}.part").touch()
    with Names(Wanted(song)) as held:
        assert held.hold(1)[0].song.path.name == "song.wav"
    assert names(tmp_path) == ["model.safetensors.0123456789ab.part"]


def test_a_file_that_appears_during_the_work_stays(tmp_path: Path, two: Result) -> None:
    for late in ("song.wav", "song-2.json"):
        with Names(Wanted(tmp_path / "song.wav")) as held:
            held.hold(2)
            theirs(tmp_path, late)
            with pytest.raises(InvalidOutput, match="by somebody else in the meantime"):
                two.save_as(held, "wav")
        assert names(tmp_path) == [late] and untouched(tmp_path, late)
        (tmp_path / late).unlink()


def test_without_links_nothing_is_replaced_either(
    tmp_path: Path, two: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*paths: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(claims.os, "link", no_links)
    test_a_file_that_appears_during_the_work_stays(tmp_path, two)
    assert two.save(tmp_path / "song.wav")[1] == tmp_path / "song-2.wav"
    assert read(tmp_path / "song-2.wav").seed == 6


def test_threads_that_save_under_one_name_get_one_each(tmp_path: Path, one: Result) -> None:
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.extend(one.save(tmp_path / "song.wav")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 4
    assert len(names(tmp_path)) == 8


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and links need rights there")
def test_names_that_no_song_can_have_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "there.wav").mkdir()
    (tmp_path / "a.json").mkdir()
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    before = names(tmp_path)
    for name, why in (
        ("pipe.wav", "is not a regular file"),
        ("there.wav", "is a folder"),
        ("a.wav", "is a folder"),
        ("loop.wav", "leads back to itself"),
        ("x\0y.wav", "is no usable name"),
        ("x" * 260 + ".wav", "has too long a name"),
        ("x" * 251 + ".wav", "has too long a name"),  # of its sidecar
        ("x/" * 2100 + "a.wav", "has too long a name"),
    ):
        with Names(Wanted(tmp_path / name)) as held, pytest.raises(InvalidOutput, match=why):
            held.hold(1)
        assert names(tmp_path) == before
    with Names(Wanted(tmp_path / ("x" * 249 + ".wav"))) as held:
        assert len(held.hold(1)) == 1
        with pytest.raises(InvalidOutput, match="has too long a name"):
            held.hold(2)
    with Names(Wanted(tmp_path / ("x" * 250 + ".wav"), lrc=True)) as held:
        assert held.hold(1)[0].lrc is not None
