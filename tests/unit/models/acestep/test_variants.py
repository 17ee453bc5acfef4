"""Variants as data: what each decides, shows and answers."""

from __future__ import annotations

import pytest

from headroom.diffusion.schedule import CustomTimes
from headroom.errors import InvalidCheckpoint, InvalidRequest
from headroom.models.acestep.requests.songs import TASKS, Lego, Text2Music, request_from
from headroom.models.acestep.requests.variants import (
    VARIANTS,
    check_task,
    offered,
    unused,
    variant_of,
)
from headroom.params.clamp import clamp
from headroom.params.describe import describe

TURBO = VARIANTS["acestep-v15-turbo"]
BASE = VARIANTS["acestep-v15-base"]
SOURCE = {"source": "a.wav"}


@pytest.mark.parametrize(
    ("name", "steps", "shift", "guidance", "tasks"),
    [
        ("turbo", 8, 3, None, 3),
        ("turbo-shift1", 8, 1, None, 3),
        ("turbo-shift3", 8, 3, None, 3),
        ("turbo-continuous", 8, 3, None, 3),
        ("base", 50, 1, 7, 6),
        ("sft", 50, 1, 7, 3),
        ("xl-turbo", 8, 3, None, 3),
        ("xl-base", 50, 1, 7, 6),
        ("xl-sft", 50, 1, 7, 3),
        ("nano", 8, 3, None, 6),
    ],
)
def test_the_released_variants(
    name: str, steps: int, shift: float, guidance: float | None, tasks: int
) -> None:
    variant = VARIANTS[f"acestep-v15-{name}"]
    assert (variant.steps, variant.shift, variant.guidance) == (steps, shift, guidance)
    assert len(variant.tasks) == tasks and set(variant.tasks) <= set(TASKS)
    assert variant.large == name.startswith("xl-")
    assert variant.name == f"acestep-v15-{name}"


def test_how_each_reads_a_list_of_times() -> None:
    assert TURBO.custom_times is CustomTimes.SNAP
    assert VARIANTS["acestep-v15-turbo-continuous"].custom_times is CustomTimes.FREE
    assert BASE.custom_times is CustomTimes.GIVEN


@pytest.mark.parametrize("name", VARIANTS)
def test_a_released_folder_is_known_by_its_name(name: str) -> None:
    variant = VARIANTS[name]
    config: dict[str, object] = {"is_turbo": variant.kind == "turbo"}
    if variant.large:
        config["encoder_hidden_size"] = 2048
    assert variant_of(config, f"/models/{name}") == variant


@pytest.mark.parametrize(
    ("config", "kind", "large"),
    [
        ({"is_turbo": True}, "turbo", False),
        ({"is_turbo": True, "encoder_hidden_size": 2048}, "turbo", True),
        ({"is_turbo": False, "model_version": "base"}, "base", False),
        ({"is_turbo": False, "model_version": "sft", "encoder_hidden_size": 2048}, "sft", True),
        ({"model_version": "turbo"}, "turbo", False),
        ({}, "base", False),
    ],
)
def test_another_folder_is_known_by_its_config(
    config: dict[str, object], kind: str, large: bool
) -> None:
    variant = variant_of(config, "my-finetune")
    assert (variant.name, variant.kind, variant.large) == ("my-finetune", kind, large)


def test_a_config_wins_over_a_name_it_contradicts() -> None:
    variant = variant_of({"is_turbo": False}, "acestep-v15-turbo")
    assert (variant.kind, variant.steps, variant.guidance) == ("base", 50, 7)


def test_how_many_codes_it_knows_stands_in_its_config() -> None:
    assert VARIANTS["acestep-v15-turbo"].codebook == variant_of({}, "x").codebook == 64_000
    assert variant_of({"fsq_input_levels": [8, 5, 5, 5]}, "acestep-v15-turbo").codebook == 1000
    with pytest.raises(InvalidCheckpoint, match="fsq_input_levels"):
        variant_of({"fsq_input_levels": [4096, 4096]}, "x")


def test_a_stems_model_reads_the_global_caption() -> None:
    stems = variant_of({"is_turbo": False, "is_lego_sft": True}, "stems")
    request = request_from({"task": "lego", "global_caption": "a waltz", **SOURCE})
    assert unused(request, stems) == ()
    assert [n.field for n in unused(request, BASE)] == ["global_caption"]


def test_a_task_a_variant_lacks_names_the_variants_that_have_it() -> None:
    check_task("repaint", TURBO)
    with pytest.raises(InvalidRequest) as error:
        unused(request_from({"task": "lego", **SOURCE}), TURBO)
    sentence = str(error.value)
    assert sentence.startswith(
        "task: 'lego' is not allowed; allowed: with acestep-v15-turbo: text2music, cover, repaint"
    )
    assert "acestep-v15-base" in sentence and "acestep-v15-sft" not in sentence


def test_turbo_is_not_offered_what_it_cannot_use() -> None:
    turbo = {p.name: p for p in offered(Text2Music, TURBO)}
    base = {p.name: p for p in offered(Text2Music, BASE)}
    assert set(base) - set(turbo) == {
        "guidance_scale",
        "guidance_variant",
        "cfg_interval_start",
        "cfg_interval_end",
        "negative_prompt",
    }
    assert {p.name for p in describe(Text2Music)} - set(base) == {"global_caption"}
    assert (turbo["inference_steps"].maximum, base["inference_steps"].maximum) == (20, 200)
    assert turbo["inference_steps"].left_open == "acestep-v15-turbo takes 8"
    assert base["guidance_scale"].left_open == "acestep-v15-base takes 7"
    assert offered(Lego, TURBO) == ()


def test_what_is_not_offered_is_answered_when_sent() -> None:
    for variant in VARIANTS.values():
        for task in variant.tasks:
            model = TASKS[task]
            shown = {p.name for p in offered(model, variant)}
            hidden = {p.name for p in describe(model)} - shown
            said = {"guidance_scale": 3, "guidance_variant": "cfg", "cfg_interval_start": 0.1}
            said |= {"cfg_interval_end": 0.9, "global_caption": "x", "task": task}
            said |= {"negative_prompt": "drums"}
            if task != "text2music":
                said |= SOURCE
            answered = {n.field for n in unused(request_from(said), variant)}
            assert hidden <= answered, (variant.name, task)


def test_the_steps_of_a_variant_are_a_limit_with_a_reason() -> None:
    clamped, (note,) = clamp(request_from({"inference_steps": 50}), TURBO.limits)
    assert clamped.inference_steps == 20
    assert note.sentence() == (
        "inference_steps: asked 50, used 20: "
        "turbo is distilled to 8 steps, and above 20 nothing is gained."
    )
    assert clamp(request_from({"inference_steps": 50}), BASE.limits)[1] == ()


IDLE: list[tuple[dict[str, object], set[str]]] = [
    ({}, set()),
    ({"sampler_mode": "heun", "infer_method": "sde"}, {"sampler_mode"}),
    ({"sampler_mode": "heun"}, set()),
    ({"timesteps": "1,0.5,0", "inference_steps": 9, "shift": 2}, {"inference_steps", "shift"}),
    ({"dcw_mode": "low", "dcw_scaler": 0.1}, {"dcw_mode", "dcw_scaler"}),
    ({"dcw_enabled": True, "dcw_mode": "low", "dcw_high_scaler": 0.1}, {"dcw_high_scaler"}),
    ({"dcw_enabled": True, "dcw_mode": "double", "dcw_high_scaler": 0.1}, set()),
    ({"retake_seed": 3}, {"retake_seed"}),
    ({"retake_seed": 3, "retake_variance": 0.2}, set()),
    ({"seed": 3, "seeds": "4,5"}, {"seed"}),
    ({"batch_size": 2, "seeds": "4,5,6"}, {"batch_size"}),
    ({"audio_cover_strength": 0.5}, {"audio_cover_strength"}),
    ({"audio_cover_strength": 0.5, "audio_codes": "<|audio_code_1|>"}, set()),
    ({"duration": 30}, set()),
    ({"duration": 30, "audio_codes": "<|audio_code_1|>"}, {"duration"}),
    ({"task": "cover", "duration": 30, "audio_cover_strength": 0.5, **SOURCE}, {"duration"}),
    ({"instrumental": True, "lyrics": "la"}, {"lyrics"}),
    ({"normalization_db": -3, "enable_normalization": False}, {"normalization_db"}),
    ({"bitrate": 128, "audio_format": "flac"}, {"bitrate"}),
    ({"bitrate": 128, "audio_format": "mp3"}, set()),
    ({"guidance_scale": 1, "guidance_variant": "adg"}, {"guidance_variant"}),
    ({"guidance_scale": 2, "guidance_variant": "adg"}, set()),
    ({"guidance_scale": 1, "negative_prompt": "drums"}, {"negative_prompt"}),
    ({"negative_caption": "drums"}, set()),
    ({"thinking": True, "lm_top_k": 5}, set()),
    ({"lm_top_k": 5, "use_cot_caption": False}, {"lm_top_k", "use_cot_caption"}),
    ({"thinking": True, "audio_codes": "<|audio_code_1|>"}, {"thinking"}),
    ({"task": "cover", "thinking": True, **SOURCE}, {"thinking"}),
    ({"task": "repaint", "repaint_mode": "aggressive", "repaint_strength": 0.1, **SOURCE},
     {"repaint_strength"}),
    ({"task": "repaint", "repaint_strength": 0.1, **SOURCE}, set()),
    ({"task": "extract", "track": "drums", "instruction": "Do it:", **SOURCE}, {"track"}),
    ({"task": "complete", "tracks": "drums,bass", **SOURCE}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("said", "idle"), IDLE)
def test_a_combination_that_cannot_use_a_field_says_so(
    said: dict[str, object], idle: set[str]
) -> None:
    notes = unused(request_from(said), BASE)
    assert {n.field for n in notes} == idle
    assert all(n.used is None and "not used" in n.sentence() for n in notes)


def test_dcw_that_turbo_does_unasked_and_base_does_not() -> None:
    said = {"dcw_mode": "low", "dcw_wavelet": "db4"}
    assert unused(request_from(said), TURBO) == ()
    notes = unused(request_from(said), BASE)
    assert [note.field for note in notes] == ["dcw_mode", "dcw_wavelet"]
    assert "DCW is off on acestep-v15-base unless asked for (dcw_enabled)" in notes[0].sentence()
    off = unused(request_from({**said, "dcw_enabled": False}), TURBO)
    assert [note.field for note in off] == ["dcw_mode", "dcw_wavelet"]
    shown = {param.name: param.left_open for param in offered(Text2Music, TURBO)}
    assert shown["dcw_enabled"] == "acestep-v15-turbo takes on"


def test_a_default_said_aloud_needs_no_answer() -> None:
    said = request_from({"guidance_variant": "apg", "cfg_interval_end": 1.0, "dcw_scaler": 0.05})
    assert unused(said, TURBO) == ()
