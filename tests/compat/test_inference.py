"""A program written for ACE-Step runs here by changing nothing but the names of its models."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from acestep.handler import AceStepHandler
from acestep.inference import (
    GenerationConfig,
    GenerationParams,
    create_sample,
    format_sample,
    generate_music,
    understand_music,
)
from acestep.llm_inference import LLMHandler
from headroom.audio.claims import ReservedName
from headroom.models.acestep.text.codes_text import codes_from_text


@pytest.fixture(scope="module")
def handlers() -> tuple[AceStepHandler, LLMHandler]:
    dit_handler, llm_handler = AceStepHandler(), LLMHandler()
    _, ok = dit_handler.initialize_service(
        project_root=".", config_path="acestep-v15-nano", device="cpu"
    )
    assert ok
    _, ok = llm_handler.initialize(
        checkpoint_dir="./checkpoints", lm_model_path="acestep-5Hz-lm-nano", backend="pt",
        device="cpu",
    )  # fmt: skip
    assert ok
    return dit_handler, llm_handler


@pytest.mark.ci
def test_the_documented_program(
    handlers: tuple[AceStepHandler, LLMHandler], tmp_path: Path
) -> None:
    dit_handler, llm_handler = handlers
    params = GenerationParams(
        caption="upbeat electronic dance music", bpm=128, duration=12, inference_steps=1
    )
    config = GenerationConfig(batch_size=2, audio_format="flac", seeds=[42, 43])
    told: list[float] = []
    result = generate_music(
        dit_handler, llm_handler, params, config, save_dir=str(tmp_path),
        progress=lambda value, desc="": told.append(value),
    )  # fmt: skip
    assert result.success and result.error is None, result.error
    assert [audio["params"]["seed"] for audio in result.audios] == [42, 43]
    for audio in result.audios:
        info = soundfile.info(audio["path"])
        assert (info.samplerate, info.channels, info.frames) == (48_000, 2, 12 * 48_000)
        assert audio["sample_rate"] == 48_000 and audio["tensor"].shape == (2, 12 * 48_000)
        assert audio["tensor"].dtype == torch.float32 and not audio["silent"]
        assert len(codes_from_text(audio["params"]["audio_codes"])) == 60
        assert audio["params"]["bpm"] == 128
    assert result.audios[0]["key"] != result.audios[1]["key"]
    assert params.cot_bpm == 128 and params.cot_keyscale and params.cot_caption
    costs = result.extra_outputs["time_costs"]
    assert costs["lm_phase1_time"] > 0 and costs["lm_phase2_time"] > 0
    assert costs["pipeline_total_time"] >= costs["dit_total_time_cost"] > 0
    assert result.extra_outputs["pred_latents"].shape == (2, 300, 64)
    assert told and max(told) <= 1
    assert set(result.to_dict()) == {
        "audios", "status_message", "extra_outputs", "success", "error",
    }  # fmt: skip


def test_without_a_language_model_it_renders_all_the_same(
    handlers: tuple[AceStepHandler, LLMHandler],
) -> None:
    params = GenerationParams(caption="x", duration=10, inference_steps=1, lyrics="la")
    result = generate_music(handlers[0], None, params, GenerationConfig(batch_size=1))
    assert result.success and result.audios[0]["path"] == ""
    assert result.extra_outputs["lm_metadata"] is None
    assert params.cot_bpm is None


def test_without_thinking_the_sheet_alone_is_filled_in(
    handlers: tuple[AceStepHandler, LLMHandler],
) -> None:
    params = GenerationParams(
        caption="slow", duration=10, inference_steps=1, thinking=False, use_cot_caption=False
    )
    result = generate_music(*handlers, params, GenerationConfig(batch_size=1))
    assert result.success, result.error
    costs = result.extra_outputs["time_costs"]
    assert costs["lm_phase1_time"] > 0 and costs["lm_phase2_time"] == 0
    assert params.cot_bpm and params.cot_keyscale and params.cot_timesignature
    assert params.cot_caption == "slow" and result.audios[0]["params"]["audio_codes"] == ""
    assert result.extra_outputs["lm_metadata"]["bpm"] == params.cot_bpm


@pytest.mark.parametrize(
    "said",
    [
        {"bpm": 90, "keyscale": "A minor", "timesignature": "3", "use_cot_caption": False,
         "use_cot_language": False},
        {"use_cot_metas": False, "use_cot_caption": False, "use_cot_language": False},
    ],
    ids=["all metadata given", "nothing asked"],
)  # fmt: skip
def test_where_nothing_is_open_no_language_model_is_asked(
    handlers: tuple[AceStepHandler, LLMHandler], said: dict[str, object]
) -> None:
    params = GenerationParams(
        caption="slow", duration=10, inference_steps=1, thinking=False, **said
    )  # type: ignore[arg-type]
    result = generate_music(*handlers, params, GenerationConfig(batch_size=1))
    assert result.success, result.error
    assert result.extra_outputs["lm_metadata"] is None and params.cot_bpm is None
    assert result.extra_outputs["time_costs"]["lm_total_time"] == 0


def test_a_language_model_writes_sheets(
    handlers: tuple[AceStepHandler, LLMHandler], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The small model writes on as long as there is room.
    monkeypatch.setattr("headroom.models.acestep.language.sheet_grammar.CAPTION_TOKENS", 40)
    monkeypatch.setattr("headroom.models.acestep.language.sheet_writing.TEXT_TOKENS", 300)
    _, llm = handlers
    made = create_sample(llm, "a soft Bengali love song", vocal_language="bn")
    assert made.success and made.caption and made.language == "bn" and made.bpm is not None
    assert made.to_dict()["instrumental"] in (True, False)
    better = format_sample(llm, "slow", "la la", {"bpm": 90, "keyscale": "Am", "duration": 30})
    assert (better.bpm, better.keyscale, better.duration) == (90, "A minor", 30.0)
    heard = understand_music(llm, "<|audio_code_1|><|audio_code_2|>")
    assert heard.success and heard.timesignature in ("2", "3", "4", "6")


def test_what_is_wrong_is_said_and_not_raised(tmp_path: Path) -> None:
    handler, nobody = AceStepHandler(), LLMHandler()
    message, ok = handler.initialize_service(str(tmp_path), "acestep-v15-none", device="cpu")
    assert not ok and "acestep-v15-none" in message
    message, ok = nobody.initialize(str(tmp_path), "acestep-5Hz-lm-1.7B", device="cpu")
    assert not ok and "acestep-5Hz-lm-1.7B" in message
    assert understand_music(nobody, "").error == "LLM not initialized"
    wrong = GenerationParams(task_type="dance", duration=10)
    result = generate_music(AceStepHandler(), None, wrong, GenerationConfig())
    assert not result.success and "dance" in (result.error or "")
    wrong = GenerationParams(duration=10, inference_steps=-1)
    assert not generate_music(AceStepHandler(), None, wrong, GenerationConfig()).success


def test_importing_loads_no_torch() -> None:
    code = (
        "import sys, acestep.inference, acestep.handler, acestep.llm_inference;"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_songs_are_written_as_every_format_and_kept_where_they_can_be(
    handlers: tuple[AceStepHandler, LLMHandler],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dit_handler, _ = handlers
    params = GenerationParams(caption="x", duration=10, inference_steps=1, use_cot_metas=False)
    config = GenerationConfig(batch_size=1, audio_format="wav32", seeds=[5])
    made = [
        generate_music(dit_handler, None, params, config, save_dir=str(tmp_path / "a"))
        for _ in range(2)
    ]
    assert all(one.success for one in made), made[0].error
    first, second = (Path(one.audios[0]["path"]) for one in made)
    assert soundfile.info(first).subtype == "FLOAT" and first.suffix == ".wav"
    assert second.stem == f"{first.stem}-2"  # the first is not replaced
    (tmp_path / "file").touch()
    refused = generate_music(dit_handler, None, params, config, save_dir=str(tmp_path / "file"))
    assert not refused.success and "save_dir" in str(refused.error)

    begin = ReservedName.begin

    def full(claim: ReservedName) -> Path:
        if claim.target.parent.name == "a":
            raise OSError(errno.ENOSPC, "No space left on device")
        return begin(claim)

    monkeypatch.setattr(ReservedName, "begin", full)
    monkeypatch.chdir(tmp_path)
    kept = generate_music(dit_handler, None, params, config, save_dir=str(tmp_path / "a"))
    assert kept.success and Path(kept.audios[0]["path"]).is_file()
    assert kept.audios[0]["path"] in kept.status_message
    assert "no room is left" in kept.status_message
