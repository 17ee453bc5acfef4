"""What the flags of `acestep profile` mean, and what is refused before anything is loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from headroom.cli.profile import FIELDS, FLAGS, parsed
from headroom.errors import HeadroomError
from headroom.models.acestep.requests.language_requests import CreateSample
from headroom.models.acestep.requests.songs import Cover, Text2Music
from headroom.profiler.options import MODES, TIERS, Options
from headroom.profiler.text_run import sheet_request
from headroom.settings import load
from unit.cli.conftest import home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")


def options(line: str = "") -> Options:
    return parsed(line.split(), load())


def request(line: str = "") -> Text2Music:
    found = options(line).request()
    assert isinstance(found, Text2Music)
    return found


def test_without_flags_it_is_the_example_and_nobody_thinks() -> None:
    found = options()
    assert (found.mode, found.warmup, found.example) == ("profile", True, "example_05.json")
    assert not (found.detailed or found.llm_debug or found.tier_with_lm or found.tier_boundary)
    assert found.tiers == TIERS == (4, 6, 8, 12, 16, 20, 24) and found.tier_duration == 30
    made = found.request()
    assert isinstance(made, Text2Music) and made.asks is None and not made.thinking
    example = json.loads(Path(__file__).parents[3].joinpath(
        "examples", "text2music", "example_05.json").read_text("utf-8"))  # fmt: skip
    assert example["think"] is True, "the example asks to think, and is not listened to in that"
    assert (made.caption, made.bpm, made.duration) == (example["caption"], 94, 120)
    assert made.seed == 42 and made.lm_temperature == 0.85 and made.lm_cfg_scale == 2.0


def test_the_language_model_does_what_was_asked_for_and_no_more() -> None:
    def asked(line: str) -> tuple[object, ...]:
        r = request(line)
        return r.thinking, r.plan_metadata, r.use_cot_metas, r.use_cot_caption, r.use_cot_language

    assert asked("--thinking") == (True, False, False, False, False)
    assert asked("--thinking --use-cot-metas --use-cot-caption") == (True, False, True, True, False)
    # Without codes to be written it fills in the song sheet alone.
    assert asked("--use-cot-caption") == (False, True, False, True, False)
    assert request("--use-cot-caption").to_fill == ("caption",)
    assert asked("--plan-metadata")[1:3] == (True, True)
    assert request("--thinking --no-constrained-decoding").use_constrained_decoding is False
    assert request("--thinking --use-constrained-decoding").use_constrained_decoding is True


def test_old_names_reach_what_they_name() -> None:
    found = options(
        "--config-path acestep-v15-base --lm-model acestep-5Hz-lm-0.6B --lm-backend pt "
        "--offload-to-cpu --offload-dit-to-cpu --quantization int8_weight_only --device cpu"
    )
    opening = found.opening.options
    assert (opening.device, opening.model) == ("cpu", "acestep-v15-base")
    assert (opening.offload, opening.offload_dit, opening.quantization) == (
        True, True, "int8_weight_only",
    )  # fmt: skip
    assert (opening.lm_model, opening.lm_backend) == ("acestep-5Hz-lm-0.6B", "pt")
    assert options().opening.options.offload is None
    made = request("--duration 20 --batch-size 2 --inference-steps 4 --seed 7 --guidance-scale 3")
    assert (made.duration, made.batch_size, made.inference_steps) == (20, 2, 4)
    assert (made.seed, made.guidance_scale) == (7, 3)


def test_a_cover_has_its_recordings_length_and_nothing_of_a_language_model(home: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(home / "song.wav", np.zeros((48000, 2), np.float32), 48000)
    made = options("--task-type cover --src-audio song.wav").request()
    assert isinstance(made, Cover) and made.duration is None and made.bpm == 94


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--mode fast", "mode: 'fast' .* one of profile, benchmark, tier-test"),
        ("--mode understand --audio-codes words", "audio_codes: 'words' .* numbers with commas"),
        ("--mode understand --audio-codes @none", "audio_codes: .* or @ and a file"),
        ("--mode understand --audio-codes 1 --src-audio x.wav", "source_audio: 'x.wav' is not"),
        ("--mode tier-test --tiers big", "tiers: 'big' .* sizes in GB"),
        ("--mode tier-test --tiers 8 -4", "tiers: '-4'"),
        ("--mode tier-test --tier-duration 0", "tier_duration: '0' .* seconds above 0"),
        ("--example none_such", "example: 'none_such' .* example_01"),
        ("--duration soon", "duration: 'soon'"),
        ("--batch-size 0", "batch_size: '0'"),
        ("--task-type cover", "source_audio: .*--source"),
        ("--task-type waltz", "task: 'waltz' .* one of text2music"),
        ("--quantization int3", "quantization: 'int3'"),
        ("--device tpu", "device: 'tpu'"),
        ("--checkpoint-dir nowhere", "checkpoint_dir: 'nowhere' .* a folder that is there"),
        ("--wrong-flag", "--wrong-flag"),
        ("--tier-durration 3", "did you mean --tier-duration"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(line: str, says: str) -> None:
    with pytest.raises(HeadroomError, match=says) as error:
        options(line)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_flag_that_does_nothing_in_a_mode_is_answered(mode: str) -> None:
    values = {
        "plot": "--plot=x.png",
        "example": "--example=example_01",
        "sample_query": "--sample-query=x",
        "audio_codes": "--audio-codes=1,2",
        "tiers": "--tiers=8",
        "tier_duration": "--tier-duration=9",
    }
    for name, modes in FLAGS.items():
        flag = values.get(name, "--" + name.replace("_", "-"))
        made = options(f"--mode {mode} {flag}")
        assert made.mode == mode
        answered = [note for note in made.notes if note.startswith(f"{name}: not used")]
        assert len(answered) == (mode not in modes), (name, mode, made.notes)
        assert all("--mode " + modes[0] in note for note in answered)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("--mode create_sample --caption x", "caption"),
        ("--mode understand --bpm 120", "bpm"),
        ("--mode tier-test --seed 3", "seed"),
        ("--mode tier-test --lm-model 4B", "lm_model"),
        ("--mode tier-test --offload-to-cpu", "offload"),
        ("--mode tier-test --lm-backend pt", "lm_backend"),
    ],
)
def test_a_field_that_does_nothing_in_a_mode_is_answered_and_changes_nothing(
    line: str, field: str
) -> None:
    made = options(line)
    assert [note.split(":")[0] for note in made.notes] == [field]
    assert field not in made.fields
    assert made.request() == options(" ".join(line.split()[:2])).request()


def test_flags_act_in_every_mode_where_they_mean_something() -> None:
    tier = options("--mode tier-test --thinking --duration 45")
    assert tier.tier_with_lm and tier.tier_duration == 45 and tier.notes == ()
    assert options("--mode tier-test --duration 45 --tier-duration 9").tier_duration == 9
    assert options("--mode tier-test --tier-duration 1:30").tier_duration == 90
    assert options("--mode tier-test --duration 1:30").tier_duration == 90
    song = options("--audio-codes 1,2,3").request()
    assert isinstance(song, Text2Music) and song.audio_codes and options("").request() != song
    for mode in ("understand", "create_sample", "format_sample"):
        free = options(f"--mode {mode} --no-constrained-decoding")
        assert free.notes == () and "use_constrained_decoding" in free.fields


def test_free_writing_reaches_the_language_model() -> None:
    for flag, kept in (("", True), ("--no-constrained-decoding", False)):
        made = options(f"--mode create_sample {flag}")
        asked = sheet_request(made, "")
        assert isinstance(asked, CreateSample) and asked.use_constrained_decoding is kept


def test_every_field_named_for_a_mode_is_a_field() -> None:
    known = {name for names in FIELDS.values() for name in names}
    assert known - set(Text2Music.model_fields) == {"source_audio"}


def test_the_help_lists_every_documented_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--help")
    shown_text = capsys.readouterr().out
    shown = set(re.findall(r"--[a-z-]+", shown_text))
    documented = """
    --device --lm-backend --config-path --lm-model --offload-to-cpu --offload-dit-to-cpu
    --quantization --duration --batch-size --inference-steps --seed --guidance-scale --thinking
    --use-cot-metas --use-cot-caption --use-cot-language --use-constrained-decoding
    --no-constrained-decoding
    --lm-temperature --lm-cfg-scale --mode --no-warmup --detailed --llm-debug --benchmark-output
    --tiers --tier-with-lm --tier-skip-compile --tier-boundary --tier-batch-boundary --example
    --reference-audio --sample-query --instrumental --audio-codes --tier-duration --plot
    --checkpoint-dir --task
    """.split()
    assert set(documented) - shown == set()
    assert "--noise" not in shown and "--threads" not in shown
    with pytest.raises(SystemExit):
        options("--help-all")
    everything = capsys.readouterr().out
    assert "--noise" in everything and "--threads" in everything
    assert "(default: as the example says, else 42)" in " ".join(everything.split())
    text = " ".join(shown_text.split()).replace("- ", "-")  # wrapped at hyphens
    for said in (
        "--duration S Length of the song. [10..600 s] (default: as the example says)",
        "(default: acestep-v15-turbo where it is installed, else the best that is)",
        "(default: acestep-5Hz-lm-1.7B where it is installed, else as the policy says)",
        "(default: 7.0 where the variant is guided; turbo variants are not)",
        "(default: as the example says, else 42)",
    ):
        assert said in text, said
    accepted = ("--no-use-constrained-decoding", "--task-type text2music")  # not shown
    for flag in accepted:
        assert options(flag).mode == "profile"
