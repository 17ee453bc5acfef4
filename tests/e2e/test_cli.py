"""The program as people call it, with the bundled checkpoint: what it writes, says and refuses."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save_file

from headroom.cli import orders
from headroom.device.host import HostDevice
from headroom.engine.provenance import read
from headroom.engine.seeds import settle
from headroom.errors import InvalidRequest
from headroom.models.acestep.model import BUNDLED, NANO
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.text.vocabulary import TRACKS
from headroom.params.describe import Param
from headroom.units import GIB, MIB
from unit.cli.conftest import Cli, cli, home  # fixtures

__all__ = ["cli", "home"]

TEN = ("--duration", "10", "--threads", "1")
RATE = 48_000
TURBO = "acestep-v15-turbo"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def program(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The installed program, started anew."""
    return subprocess.Popen(
        [sys.executable, "-m", "headroom", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


# --- songs -------------------------------------------------------------------------------


def test_a_caption_becomes_a_song(home: Path) -> None:
    flags = ("--seed", "3", "--inference-steps", "2", "--bpm", "400", "-o", "song.wav")
    process = program(home, "generate", "slow bossa nova", *TEN, *flags)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out == "song.wav  seed 3, 10 s\n"
    assert "note: model: asked the best installed, used acestep-v15-nano" in err
    assert "`acestep models download" in err
    assert "note: bpm: asked 400, used 300: the model knows tempos of 30 to 300." in err
    reminders = re.compile(r"\w+:( \d+/\d+)? after ")  # where the machine is slow
    lines = [line for line in err.splitlines() if not reminders.match(line)]
    assert [line.partition(":")[0] for line in lines] == [
        "note", "condition", "schedule", "denoise", "decode", "note",
        "attention by torch's scaled dot product",
    ]  # fmt: skip
    assert files(home) == ["song.json", "song.wav"]
    info = soundfile.info(home / "song.wav")
    assert (info.channels, info.samplerate, info.frames) == (2, RATE, 10 * RATE)
    assert np.abs(soundfile.read(home / "song.wav")[0]).max() > 0.1


def test_json_holds_everything_and_standard_output_nothing_else(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = count(GIB, MIB)  # a process that grows: a real one also shrinks by itself
    monkeypatch.setattr(HostDevice, "memory_allocated", lambda device: next(sizes))
    words = ("--duration", "5", "--threads", "1", "--inference-steps", "500", "--thinking")
    done = cli("generate", "Slow bossa nova!", *words, "--seed", "3", "--json")
    assert done.code == 0, done.err
    assert done.err == ""
    value = json.loads(done.out)
    assert list(value) == ["outputs", "report", "notes"]
    (song,) = value["outputs"]
    assert song["path"] == str(Path("outputs") / "slow-bossa-nova-3.flac")
    assert (song["seed"], song["duration"]) == (3, 10.0)
    assert soundfile.info(home / song["path"]).frames == 10 * RATE
    stages = {stage["stage"]: stage for stage in value["report"]["stages"]}
    thought = ["think", "write codes"]
    assert list(stages) == [*thought, "codes", "condition", "schedule", "denoise", "decode"]
    assert stages["decode"]["planned_bytes"] > 0 < stages["decode"]["measured_bytes"]
    assert sum(s["seconds"] for s in stages.values()) <= value["report"]["seconds"]
    notes = {note["field"]: note for note in value["notes"]}
    assert (notes["duration"]["asked"], notes["duration"]["used"]) == (5.0, 10.0)
    assert (notes["inference_steps"]["asked"], notes["inference_steps"]["used"]) == (500, 20)
    assert "distilled" in notes["inference_steps"]["why"]
    assert "thinking" not in notes
    assert notes["duration"]["sentence"].startswith("duration: asked 5, used 10: ")


@pytest.mark.ci
def test_a_batch_its_latents_and_its_replay(cli: Cli, home: Path) -> None:
    flags = ("--seeds", "1,2", "--inference-steps", "1", "-o", "b.wav", "--quiet")
    done = cli("generate", "x", *TEN, *flags, "--save-latents", "b.safetensors")
    assert (done.code, done.err) == (0, "")
    assert done.out == "b.wav  seed 1, 10 s\nb-2.wav  seed 2, 10 s\n"
    tensors = load_file(home / "b.safetensors")
    assert {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()} == {
        "noise": ((2, 250, 64), torch.float32),
        "latents": ((2, 250, 64), torch.float32),
    }
    assert not torch.equal(tensors["noise"][0], tensors["noise"][1])
    before = (home / "b-2.wav").read_bytes()

    again = cli("generate", "--replay", "b-2.wav", "-o", "again.wav")
    assert again.code == 0, again.err
    assert again.out == "again.wav  seed 2, 10 s\n"
    assert (home / "again.wav").read_bytes() == before
    assert (home / "b-2.wav").read_bytes() == before


def test_a_file_of_requests_is_one_pass(cli: Cli, home: Path) -> None:
    lines = [
        {"caption": "one", "audioDuration": 10, "seed": 1, "steps": 1},
        {"caption": "two", "duration": 11, "seed": 2, "steps": 1, "audio_format": "mp3"},
    ]
    (home / "r.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    done = cli("generate", "--requests", "r.jsonl", "-o", "many", "--threads", "1", "--json")
    assert done.code == 0, done.err
    value = json.loads(done.out)
    assert [(Path(o["path"]).name, o["duration"], o["request"]) for o in value["outputs"]] == [
        ("one-1.flac", 10.0, 0),
        ("two-2.mp3", 11.0, 1),
    ]
    assert [s["stage"] for s in value["report"]["stages"]].count("denoise") == 1
    assert files(home / "many") == ["one-1.flac", "one-1.json", "two-2.json", "two-2.mp3"]


def test_help_shows_the_limits_of_the_model_in_use(cli: Cli) -> None:
    shown = " ".join(cli("generate", "--help").out.split())
    assert "Denoising steps. [1..20] (left open: acestep-v15-nano takes 8)" in shown
    assert "--guidance-scale" not in shown  # a distilled model has none
    assert "--noise" not in shown and "--seed N" in shown
    everything = " ".join(cli("generate", "--help-all").out.split())
    assert "--noise headroom|official" in everything and "--guidance-scale" not in everything


# --- refusals ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that can be used and recordings that cannot."""
    folder = tmp_path_factory.mktemp("sounds")
    time = np.arange(2 * RATE) / RATE
    tone = np.stack((np.sin(2764 * time), np.sin(3456 * time)), axis=1) * 0.3
    soundfile.write(folder / "good.wav", tone, RATE)
    soundfile.write(folder / "silent.wav", tone * 0, RATE)
    holed = tone.copy()
    holed[1000] = np.nan
    soundfile.write(folder / "nan.wav", holed, RATE, subtype="FLOAT")
    (folder / "empty.wav").touch()
    soundfile.write(folder / "whole.flac", soundfile.read(folder / "good.wav")[0], RATE)
    whole = (folder / "whole.flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    (folder / "words.wav").write_text("this is no sound\n" * 100)
    return folder


def refused(cli: Cli, home: Path, words: tuple[str, ...], *said: str) -> None:
    """Exit code 2, one sentence that says it all, nothing written."""
    before = files(home)
    done = cli("generate", *words)
    assert done.code == 2, (done.err, done.out)
    assert done.out == ""
    error = done.err[done.err.index("error: ") :]
    missing = [word for word in said if word not in error]
    assert missing == [], error
    assert "Traceback" not in done.err
    assert files(home) == before


@pytest.mark.parametrize(
    ("flag", "value", "field"),
    [
        ("--duration", "nan", "duration"),
        ("--duration", "-3", "duration"),
        ("--duration", "inf", "duration"),
        ("--duration", "long", "duration"),
        ("--inference-steps", "nan", "inference_steps"),
        ("--inference-steps", "-1", "inference_steps"),
        ("--inference-steps", "2.5", "inference_steps"),
        ("--guidance-scale", "nan", "guidance_scale"),
        ("--guidance-scale", "-2", "guidance_scale"),
        ("--shift", "nan", "shift"),
        ("--shift", "-1e3", "shift"),
        ("--latent-rescale", "-1", "latent_rescale"),
        ("--audio-cover-strength", "nan", "audio_cover_strength"),
        ("--dcw-scaler", "-0.1", "dcw_scaler"),
        ("--batch-size", "0", "batch_size"),
        ("--seed", "-2", "seed"),
        ("--timesteps", "0.1,0.9", "timesteps"),
        ("--task", "dance", "task"),
        ("--lyrics", "@absent.txt", "lyrics"),
        ("--audio-format", "aiff", "audio_format"),
        ("--device", "toaster", "device"),
        ("--dtype", "int3", "dtype"),
        ("--checkpoint-dir", "absent", "checkpoint_dir"),
        ("--replay", "absent.wav", "replay"),
        ("--requests", "absent.jsonl", "requests"),
        ("--save-latents", "l.pt", "save_latents"),
        ("--durations=3", "", "--durations"),
    ],
)
def test_a_bad_value_is_named(cli: Cli, home: Path, flag: str, value: str, field: str) -> None:
    text = () if flag in ("--replay", "--requests") else ("x",)
    said = value.partition(",")[0].removeprefix("-1e3")
    words = (flag, value) if value else (flag,)
    refused(cli, home, (*text, *words), f"error: {field}: ", said, "allowed: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--task", "extract", "--track", "kazoo"), ("track: 'kazoo'", "allowed: ", "drums")),
        (("--task", "repaint", "--start", "5", "--end", "2"), ("start: 5", "below the end (2 s)")),
        (("--task", "repaint", "--start", "9"), ("start: 9", "the length of the source (2.00 s)")),
        (("--task", "cover", "--start", "9"), ("start: '9'", "only with task repaint or lego")),
    ],
)
def test_fields_that_contradict_the_task_are_named(
    cli: Cli, home: Path, sounds: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refused(cli, home, ("x", *words, "--source", str(sounds / "good.wav")), *said)


@pytest.mark.parametrize(
    ("task", "file", "said"),
    [
        ("cover", "absent.wav", "is not there"),
        ("cover", "empty.wav", "is empty (0 bytes)"),
        ("repaint", "cut.flac", "cut short"),
        ("lego", "words.wav", "cannot be read as audio"),
        ("repaint", "", "is a folder"),
        ("complete", "nan.wav", "not finite numbers, the first at 0.021 s"),
        ("extract", "silent.wav", "is silent"),
        ("cover", "silent.wav", "is silent"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(
    cli: Cli, home: Path, sounds: Path, task: str, file: str, said: str
) -> None:
    path = str(sounds / file)
    refused(cli, home, ("x", "--task", task, "--source", path), "source_audio: ", path, said)


def test_a_task_without_its_source_is_refused(cli: Cli, home: Path) -> None:
    refused(cli, home, ("x", "--task", "cover"), "source_audio: None", "(--source)")


@pytest.mark.parametrize(("file", "said"), [("silent.wav", "is silent"), ("nan.wav", "finite")])
def test_a_reference_that_cannot_be_used_is_named(
    cli: Cli, home: Path, sounds: Path, file: str, said: str
) -> None:
    path = str(sounds / file)
    refused(cli, home, ("x", "--reference-audio", path), "reference_audio: ", path, said)


def test_what_the_recording_says_is_not_said_again(cli: Cli, home: Path) -> None:
    refused(cli, home, ("--replay", "a.wav", "--seed", "4"), "seed: '4'", "with --replay")
    refused(cli, home, ("--replay", "a.wav", "--dtype", "float16"), "dtype: 'float16'")


def test_a_line_of_requests_that_is_wrong_is_named(cli: Cli, home: Path) -> None:
    for line, said in (
        ('{"caption": "x", "duration": -2}', "r.jsonl line 2, duration: -2"),
        ("{caption}", "r.jsonl line 2: '{caption}'"),
        ("[1]", "a JSON object, as in"),
    ):
        (home / "r.jsonl").write_text('{"caption": "x"}\n' + line)
        refused(cli, home, ("--requests", "r.jsonl"), said, "allowed: ")
    refused(cli, home, ("--requests", "r.jsonl", "--bpm", "90"), "bpm: '90'", "--requests")


def test_a_batch_and_seeds_that_do_not_agree_are_refused(cli: Cli, home: Path) -> None:
    for batch in ("3", "1"):
        words = ("x", "--batch-size", batch, "--seeds", "1,2")
        refused(cli, home, words, "seeds: (1, 2)", f"as many as batch_size says ({batch})")
    with pytest.raises(InvalidRequest, match="seeds"):
        settle(Text2Music(caption="x", batch_size=3, seeds=(1, 2)))
    said = Text2Music(caption="x", seeds=(1, 2)).model_dump()  # with all its defaults
    assert settle(Text2Music(**said))[1] == (1, 2)


def test_a_word_too_many_or_none_is_refused(cli: Cli, home: Path) -> None:
    refused(cli, home, ("slow", "bossa"), "caption: 'slow bossa'", "quotes")
    refused(cli, home, (), "caption: ''", "allowed: ")
    refused(cli, home, ("x", "--caption", "y"), "caption: 'x'")
    refused(cli, home, ("x", "--duration"), "--duration", "expected one argument")


def test_a_file_that_is_not_there_is_called_that_everywhere(cli: Cli, home: Path) -> None:
    for words, name in (
        (("generate", "x", "--lyrics", "@absent.txt"), "lyrics: '@absent.txt'"),
        (("generate", "--requests", "absent.txt"), "requests: 'absent.txt'"),
        (("generate", "--replay", "absent.json"), "replay: 'absent.json'"),
        (("generate", "--replay", "absent.wav"), "replay: 'absent.wav'"),
        (("generate", "x", "--task", "cover", "--source", "absent.wav"), "source_audio: 'absent"),
        (("generate", "x", "--reference-audio", "absent.wav"), "reference_audio: 'absent.wav'"),
        (("generate", "x", "--checkpoint-dir", "absent"), "checkpoint_dir: 'absent'"),
        (("compose", "x", "--lyrics", "@absent.txt"), "lyrics: '@absent.txt'"),
        (("understand", "absent.wav"), "source: 'absent.wav'"),
        (("profile", "compare", "absent.json", "b.json"), "compare: 'absent.json'"),
    ):
        done = cli(*words)
        assert done.code == 2 and f"{name}" in done.err and " is not there; allowed: " in done.err


# --- models that cannot be used -----------------------------------------------------------


def _drop(folder: Path, key: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[key]
    save_file(tensors, folder / "model.safetensors")


def _bend(folder: Path, key: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, key: torch.zeros(3, 5)}, folder / "model.safetensors")


def _cut(folder: Path, key: str) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _no_tensor(folder: Path, key: str) -> None:
    torch.save({"silence": 1}, folder / "silence_latent.pt")


@pytest.mark.parametrize(
    ("damage", "key", "said"),
    [
        (_drop, "decoder.condition_embedder.bias", "missing, the network wants [192]"),
        (_bend, "decoder.condition_embedder.bias", "[3, 5] in the file, the network wants [192]"),
        (_cut, "model.safetensors", "cut off"),
        (_no_tensor, "silence_latent.pt", "holds a dict, not a tensor"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_checkpoint_that_cannot_be_used_is_named_and_not_passed_over(
    cli: Cli, home: Path, damage: Callable[[Path, str], None], key: str, said: str, named: bool
) -> None:
    place = home / "models"
    shutil.copytree(BUNDLED, place)
    (place / NANO).rename(place / TURBO)
    damage(place / TURBO, key)
    model = ("--model", TURBO) if named else ()
    words = ("x", *TEN, "--checkpoint-dir", "models", *model)
    refused(cli, home, words, "checkpoint: ", str(place / TURBO), f"{key}: {said}")


# --- places that cannot take a song -------------------------------------------------------


@pytest.fixture
def mounted(home: Path) -> Iterator[Callable[[str], Path]]:
    """`mounted(options)`: a small file system of its own, where this process may make one."""
    made: list[Path] = []

    def mount(options: str) -> Path:
        place = home / f"disk{len(made)}"
        place.mkdir()
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("only root on Linux can mount a small disk")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
        made.append(place)
        return place

    yield mount
    for place in made:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_said_and_the_song_is_kept_elsewhere(
    cli: Cli, home: Path, mounted: Callable[[str], Path]
) -> None:
    song = mounted("size=1m") / "new" / "song.wav"
    done = cli("generate", "x", *TEN, "--inference-steps", "1", "-o", str(song), "--quiet")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{Path('outputs') / 'song.wav'}  seed ")
    assert "no room is left on the disk" in done.err
    assert str(home / "outputs" / "song.wav") in done.err
    assert not song.parent.exists()


def test_a_disk_that_fills_up_while_writing_leaves_nothing(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headroom.audio.encode as encode

    def full(path: Path, *rest: object) -> None:
        path.write_bytes(b"RIFF")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(encode, "_encode", full)
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    latents = ("--save-latents", "l.safetensors")
    words = ("x", *TEN, "--inference-steps", "1", "-o", "song.wav", *latents)
    refused(cli, home, words, "output: 'song.wav'", "no room is left on the disk")


def test_a_disk_that_may_not_be_written_to_is_said_first(
    cli: Cli, home: Path, mounted: Callable[[str], Path]
) -> None:
    song = mounted("size=1m,ro") / "song.wav"
    refused(cli, home, ("x", "-o", str(song)), f"output: {str(song)!r}", "Read-only file system")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_the_right_to_write_is_said_first(cli: Cli, home: Path) -> None:
    (home / "closed").mkdir(mode=0o500)
    refused(cli, home, ("x", "-o", "closed/song.wav"), "output: ", "Permission denied")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("there", "is a folder"),
        ("file/song.wav", "is no folder"),
        ("song.aiff", "ends in '.aiff'"),
        ("song", "has no ending"),
        ("theirs.wav", "'theirs.json'"),
    ],
)
def test_a_place_that_cannot_take_a_song_is_named(
    cli: Cli, home: Path, named: str, said: str
) -> None:
    (home / "there").mkdir()
    (home / "file").touch()
    (home / "theirs.json").write_text("{}")
    refused(cli, home, ("x", "-o", named), f"output: {named!r}", said)


def test_what_is_there_is_kept(cli: Cli, home: Path, sounds: Path) -> None:
    short = ("x", *TEN, "--inference-steps", "1", "--quiet")
    shutil.copy(sounds / "good.wav", home / "mine.wav")
    (home / "song-2.wav").write_bytes(b"mine")
    refused(cli, home, ("x", "-o", "mine.wav"), "output: 'mine.wav'", "did not make it", "--force")
    edit = ("x", "--task", "repaint", "--source", "mine.wav", "-o", "mine.wav")
    refused(cli, home, edit, "output: 'mine.wav' is the source_audio of this very request")
    assert cli("generate", *short, "--seeds", "1,2", "-o", "song.wav").code == 0
    assert (home / "song-2.wav").read_bytes() == b"mine"
    assert files(home) == [
        "mine.wav", "song-2.wav", "song-3.json", "song-3.wav", "song.json", "song.wav",
    ]  # fmt: skip
    before = (home / "song.wav").read_bytes()
    done = cli("generate", *short[:-1], "--seed", "3", "-o", "song.wav", "--json")
    (output,) = json.loads(done.out)["outputs"]
    (note,) = [n for n in json.loads(done.out)["notes"] if n["field"] == "output"]
    assert (output["path"], note["used"]) == ("song-4.wav", "song-4.wav")
    assert (home / "song.wav").read_bytes() == before
    done = cli("generate", *short, "--seed", "1", "-o", "song.wav", "--force")
    assert done.out == "song.wav  seed 1, 10 s\n"
    assert (home / "song.wav").read_bytes() != before


@pytest.mark.ci
def test_every_track_of_a_recording_in_one_run(
    cli: Cli, home: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = orders.union

    def two_tracks(models: Iterable[type[BaseModel]]) -> tuple[Param, ...]:
        params = every(models)
        assert next(p.choices for p in params if p.name == "track") == TRACKS
        few = ("drums", "backing_vocals")
        return tuple(replace(p, choices=few) if p.name == "track" else p for p in params)

    monkeypatch.setattr(orders, "union", two_tracks)
    words = ("--task", "extract", "--track", "all", "--source", str(sounds / "good.wav"))
    flags = ("--inference-steps", "1", "--threads", "1", "--seed", "4", "--quiet")
    done = cli("generate", *words, *flags, "-o", "stems.wav")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "stems-drums.wav  seed 4, 2.0 s",
        "stems-backing-vocals.wav  seed 4, 2.0 s",
    ]
    assert read(home / "stems-drums.json").requests[0].values["track"] == "drums"


# --- stopping -----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signal to one process")
def test_ctrl_c_leaves_no_partial_file(home: Path) -> None:
    long = ("--duration", "600", "--inference-steps", "20", "--threads", "1")
    process = program(home, "generate", "x", *long, "-o", "song.wav")
    assert process.stderr is not None
    with process:
        try:
            assert any(line.startswith("schedule:") for line in process.stderr)
            process.send_signal(signal.SIGINT)
            assert any("Ctrl-C again" in line for line in process.stderr)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert err == "stopped.\n"
    assert files(home) == []
