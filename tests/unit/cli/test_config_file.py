"""`--config FILE.toml`: flat keys of ours and of ACE-Step's, under what the command line says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from headroom.cli import generate
from headroom.cli.config_file import ConfigFile, read
from headroom.cli.orders import Order
from headroom.errors import HeadroomError
from unit.cli.conftest import Cli, cli, home

__all__ = ["cli", "home"]
# As ACE-Step's own wizard writes it.
WRITTEN = """
project_root = "/somewhere"
config_path = "acestep-v15-turbo"
backend = "pt"
device = "cpu"
offload_to_cpu = true
offload_dit_to_cpu = false
save_dir = "output"
audio_format = "flac"
caption = "slow bossa nova"
prompt = ""
lyrics = "[Instrumental]"
duration = -1.0
instrumental = true
keyscale = ""
timesignature = ""
vocal_language = "unknown"
task_type = "text2music"
repainting_start = 0.0
repainting_end = -1
audio_cover_strength = 1.0
lego_track = "drums"
extract_track = ""
complete_tracks = ""
sample_mode = false
sample_query = ""
use_format = false
inference_steps = 8
seed = -1
guidance_scale = 7.0
use_adg = false
shift = 3.0
infer_method = "ode"
thinking = false
lm_temperature = 0.85
lm_cfg_scale = 2.0
lm_top_k = 0
lm_top_p = 0.9
use_cot_metas = true
use_cot_caption = true
use_cot_lyrics = false
use_cot_language = true
use_constrained_decoding = true
batch_size = 2
use_random_seed = true
allow_lm_batch = false
lm_batch_chunk_size = 8
constrained_decoding_debug = false
audio_codes = ""
cfg_interval_start = 0.0
cfg_interval_end = 1.0
lm_negative_prompt = "NO USER INPUT"
log_level = "INFO"
"""


def told(text: str, folder: Path) -> ConfigFile:
    path = folder / "c.toml"
    path.write_text(text, encoding="utf-8")
    return read(path, generate.whole_parser())


@pytest.fixture
def made(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `acestep generate --config` would make: the request, where it goes, the flags."""
    found: dict[str, Any] = {}

    def make(groups: Any, files: Any, flags: Any, settings: Any, told: Any) -> int:
        order: Order = groups[0][0]
        found.update(request=order.request, flags=flags, settings=settings, files=files, told=told)
        return 0

    monkeypatch.setattr(generate, "_make", make)

    def call(text: str, *words: str) -> dict[str, Any]:
        (home / "c.toml").write_text(text, encoding="utf-8")
        done = cli("generate", "--config", "c.toml", *words)
        assert done.code == 0, done.err
        return {**found, "err": done.err}

    return call


def test_a_file_of_acestep_s_own_is_taken_whole(made: Any) -> None:
    done = made(WRITTEN)
    request, flags = done["request"], done["flags"]
    assert done["err"] == ""
    assert (request.caption, request.instrumental, request.duration) == (
        "slow bossa nova", True, None,
    )  # fmt: skip
    assert (request.batch_size, request.inference_steps, request.audio_format) == (2, 8, "flac")
    assert (flags.model, flags.device) == ("acestep-v15-turbo", "cpu")
    assert (flags.lm_backend, flags.offload) == ("pt", True)
    assert flags.offload_dit is None
    assert done["settings"].output_dir == Path("output")


def test_the_command_line_goes_first(made: Any) -> None:
    done = made(
        WRITTEN, "fast samba", "--duration", "20", "--device", "simulated", "--seed", "5",
        "--no-instrumental", "--no-thinking", "-o", "x.wav",
    )  # fmt: skip
    request = done["request"]
    assert (request.caption, request.duration, request.seed) == ("fast samba", 20.0, 5)
    assert request.instrumental is False and request.audio_format is None
    assert done["flags"].device == "simulated" and done["flags"].model == "acestep-v15-turbo"
    seeds = made('caption = "x"\nseeds = [1, 2, 3]\nbatch_size = 2\nseed = 9\n')["request"]
    assert seeds.seeds == (1, 2, 3) and seeds.seed is None and seeds.songs == 3
    assert made('caption = "x"\nseeds = [1, 2, 3]\n', "--seed", "4")["request"].seeds == ()
    assert made('caption = "x"\nbatch_size = 2\n', "--seeds", "1,2,3")["request"].songs == 3
    old = made('caption = "x"\naudio_duration = 20\n', "--duration", "30")
    assert old["request"].duration == 30


def test_our_own_flags_are_keys_too(made: Any) -> None:
    done = made(
        'caption = "x"\nforce = true\nquiet = true\nlm-model = "none"\nthreads = 2\n'
        'output = "y.ogg"\n'
        "offload = false\ncompile = false\nlrc = false\nbpm = 90\n"
    )
    flags = done["flags"]
    assert (flags.threads, flags.compile, flags.lm_model) == (2, False, "none")
    assert flags.offload is False and done["files"].force and not done["files"].lrc
    assert done["told"].quiet and done["request"].bpm == 90


def test_lyrics_may_be_a_file_beside_it(home: Path) -> None:
    folder = home / "below"
    folder.mkdir()
    (folder / "words.txt").write_text("la la", encoding="utf-8")
    (home / "here.txt").write_text("lo lo", encoding="utf-8")
    for key, expected in (("words.txt", "la la"), ("here.txt", "lo lo"), ("@here.txt", "lo lo")):
        assert told(f'lyrics = "{key}"', folder).fields["lyrics"] == expected
    with pytest.raises(HeadroomError, match=r"gone\.txt' is not there"):
        told('lyrics = "gone.txt"', folder)


def test_tracks_are_those_of_the_task(home: Path) -> None:
    text = 'task_type = "{}"\nlego_track = "drums"\ncomplete_tracks = "bass,guitar"\n'
    assert told(text.format("lego"), home).fields["track"] == "drums"
    assert told(text.format("complete"), home).fields["tracks"] == "bass,guitar"
    assert set(told(text.format("cover"), home).fields) == {"task_type"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('captoin = "x"', "captoin: 'x'.*did you mean caption"),
        ("lm_temprature = 1", "did you mean lm_temperature"),
        ("offload_to_cpus = true", "did you mean offload_to_cpu"),
        ("[song]\nbpm = 3", "song: .*flat"),
        ("caption = ", "c.toml' is not TOML"),
        ("seed = " + "9" * 5000, "c.toml' is not TOML"),
        ("x = " + "[" * 5000, "c.toml' is"),
        ('replay = "x.json"', "replay: 'x.json'"),
        ('force = "yes"', "force: 'yes'.*true or false"),
        ("bpm = 1979-05-27", "bpm: "),
        ('device = "tpu"', "device: 'tpu'"),
        ('caption = "x"\nduration = "soon"', "duration: 'soon'"),
    ],
)
def test_what_is_wrong_is_a_sentence(cli: Cli, home: Path, text: str, says: str) -> None:
    (home / "c.toml").write_text(text, encoding="utf-8")
    done = cli("generate", "--config", "c.toml")
    assert (done.code, done.out) == (2, "") and done.err.count("\n") == 1
    assert re.search(says, done.err), done.err


def test_a_file_that_is_not_there_and_one_too_many_are_refused(cli: Cli, home: Path) -> None:
    assert "config: 'none.toml' is not there" in cli("generate", "--config", "none.toml").err
    done = cli("generate", "--config", "c.toml", "--replay", "x.json")
    assert done.code == 2 and "without --replay" in done.err
