"""The documented names of ACE-Step's own API: each is there, takes its parameters, and answers."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tests.support.old_api import CALLS, CONSTANTS

from acestep import audio_utils, constants, model_downloader
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.llm_inference import LLMHandler
from headroom.device.host import HostDevice
from headroom.engine.report import Report
from headroom.engine.result import Result
from headroom.errors import HeadroomError, InvalidRequest, NotSupportedYet
from headroom.hardware.machine import fast_dtype
from headroom.hardware.probe import probe_device
from headroom.memory.plan import Plan
from headroom.models.acestep.requests.language_requests import (
    CreateSample,
    FormatSample,
    Understand,
)
from headroom.models.acestep.text.codes_text import codes_in
from headroom.models.outputs import SongSheet
from headroom.params.request import Request

CODES = "".join(f"<|audio_code_{n}|>" for n in range(50))
Handlers = tuple[AceStepHandler, LLMHandler]


@pytest.fixture(scope="module")
def handlers() -> Handlers:
    dit_handler, llm_handler = AceStepHandler(), LLMHandler()
    message, ok = dit_handler.initialize_service(".", "acestep-v15-nano", device="cpu")
    assert ok, message
    message, ok = llm_handler.initialize("./checkpoints", "acestep-5Hz-lm-nano", "pt", "cpu")
    assert ok, message
    llm_handler.share(dit_handler.engine_for(llm_handler))
    return dit_handler, llm_handler


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    waves = np.sin(np.arange(2 * 24_000) / 20)
    soundfile.write(path, np.stack((waves, waves), 1) * 0.5, 24_000)
    return path


# --- names and parameters ---------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_a_documented_name_takes_its_parameters(name: str) -> None:
    module, _, place = name.partition(".")
    found = attrgetter(place)(importlib.import_module(f"acestep.{module}"))
    parameters = [p for p in inspect.signature(found).parameters if p != "self"]
    assert parameters == CALLS[name].split()


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_documented_constant_has_its_value(name: str) -> None:
    assert getattr(constants, name) == CONSTANTS[name]


def test_long_constants() -> None:
    assert len(constants.VALID_KEYSCALES) == 70 and "B♭ major" in constants.VALID_KEYSCALES
    assert len(constants.VALID_LANGUAGES) == 51 and constants.VALID_LANGUAGES[-1] == "unknown"


def test_importing_has_no_effect() -> None:
    names = [path.stem for path in Path("src/acestep").glob("*.py") if path.stem[0] != "_"]
    code = (
        f"import sys, importlib; [importlib.import_module('acestep.' + n) for n in {names}];"
        "assert 'torch' not in sys.modules"
    )
    assert len(names) > 15
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("load_lora", ("a",)), ("add_lora", ("a", "b")), ("add_voice_lora", ("a",)),
        ("remove_lora", ("a",)), ("unload_lora", ()), ("set_use_lora", (True,)),
        ("set_lora_scale", (0.5,)), ("set_active_lora_adapter", ("a",)),
        ("switch_to_training_preset", ()),
    ],
)  # fmt: skip
def test_what_comes_later_says_when(name: str, given: tuple[Any, ...]) -> None:
    with pytest.raises(NotSupportedYet, match=rf"{name}: .*planned for version \d") as caught:
        getattr(AceStepHandler(), name)(*given)
    assert isinstance(caught.value, NotImplementedError) and isinstance(caught.value, HeadroomError)
    assert AceStepHandler().get_lora_status()["loaded"] is False


# --- initialising -----------------------------------------------------------------------------


def test_a_second_service_takes_the_place_of_the_first(tmp_path: Path) -> None:
    handler = AceStepHandler()
    assert handler.initialize_service(".", "acestep-v15-nano", device="cpu")[1]
    first = handler.engine_for(None)
    # Named like a released one, so that it is another model to open.
    (tmp_path / "checkpoints").mkdir()
    nano = Path("src/headroom/models/acestep/nano").resolve()
    for folder in nano.iterdir():
        name = folder.name.replace("acestep-v15-nano", "acestep-v15-base")
        (tmp_path / "checkpoints" / name).symlink_to(folder, target_is_directory=True)
    message, ok = handler.initialize_service(str(tmp_path), "acestep-v15-base", device="cpu")
    assert ok, message
    second = handler.engine_for(None)
    assert second is not first and second.model.name == "acestep-v15-base"
    assert handler.get_available_acestep_v15_models() == ["acestep-v15-base", "acestep-v15-nano"]
    assert handler.initialize_service(
        ".", "acestep-v15-nano", device="cpu", quantization="int8_weight_only"
    )[1]
    third = handler.engine_for(None)
    assert third.model.name == "acestep-v15-nano" and third.policy.quantization == "int8"
    assert handler.last_init_params is not None


def fast() -> torch.dtype:
    """The type in which this processor computes fastest."""
    return torch.bfloat16 if fast_dtype(probe_device(HostDevice())) == "bfloat16" else torch.float32


@pytest.mark.parametrize(
    "wrong",
    [
        {"config_path": "acestep-v15-none"},
        {"device": "abacus"},
        {"vae_variant": "another"},
        {"component_device_map": {"dit": "cuda:1"}},
    ],
    ids=str,
)
def test_a_failed_service_can_be_followed_by_a_good_one(wrong: dict[str, Any]) -> None:
    handler = AceStepHandler()
    good = {"project_root": ".", "config_path": "acestep-v15-nano", "device": "cpu"}
    assert handler.initialize_service(**good)[1]  # type: ignore[arg-type]
    message, ok = handler.initialize_service(**{**good, **wrong})  # type: ignore[arg-type]
    assert not ok and str(next(iter(wrong.values())))[:6] in message
    assert not handler.initialized and handler.model is None and not handler.is_turbo_model()
    result = generate_music(handler, None, GenerationParams(), GenerationConfig())
    assert not result.success and "not fully initialized" in str(result.error)
    assert handler.initialize_service(**good, use_mlx_dit=False, vae_variant="vae")[1]  # type: ignore[arg-type]
    assert handler.initialized and handler.is_turbo_model()
    assert handler.dtype == fast() and handler.config is not None


def test_a_language_model_can_be_initialised_again(tmp_path: Path) -> None:
    handler = LLMHandler()
    assert handler.initialize("./checkpoints", "acestep-5Hz-lm-nano", "pt", "cpu")[1]
    first = handler.engine()
    assert not handler.initialize(str(tmp_path), "acestep-5Hz-lm-1.7B", "pt", "cpu")[1]
    assert not handler.llm_initialized
    with pytest.raises(ValueError, match="initialize"):
        handler.build_formatted_prompt("x")
    assert handler.initialize("./checkpoints", "acestep-5Hz-lm-nano", "pt", "cpu")[1]
    assert handler.engine() is not first
    assert handler.get_available_5hz_lm_models() == ["acestep-5Hz-lm-nano"]
    tokenizer: Any = handler.llm_tokenizer
    assert tokenizer.decode(tokenizer.encode("la la").ids) == "la la"
    assert LLMHandler().llm_tokenizer is None and handler.dtype == fast()
    assert handler.max_model_len == 4096
    ratio, small = handler.get_gpu_memory_utilization()
    assert 0.2 <= ratio <= 0.9 and small in (True, False)


# --- songs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repainted(handlers: Handlers, song: Path) -> GenerationResult:
    params = GenerationParams(
        task_type="repaint", caption="x", lyrics="[Verse]\nla la\nthe sea", src_audio=str(song),
        repainting_start=0.4, repainting_end=1.2, inference_steps=1, chunk_mask_mode="explicit",
    )  # fmt: skip
    result = generate_music(handlers[0], None, params, GenerationConfig(1, seeds="5"))
    assert result.success, result.error
    return result


def test_latents_and_masks_of_a_repaint(repainted: GenerationResult) -> None:
    extra = repainted.extra_outputs
    assert extra["spans"] == [("repainting", 10, 30)]
    assert extra["chunk_masks"].shape == extra["latent_masks"].shape == (1, 128)
    assert extra["chunk_masks"].dtype == torch.bool
    assert extra["chunk_masks"][0].nonzero().flatten().tolist() == list(range(10, 30))
    assert extra["latent_masks"].sum() == 128 and extra["latent_masks"].dtype == torch.long
    source, channels = extra["target_latents_input"], extra["src_latents"]
    assert extra["target_latents"] is source and source.shape == channels.shape == (1, 128, 64)
    outside = [*range(10), *range(30, 128)]
    assert torch.equal(source[:, outside], channels[:, outside])
    assert not torch.equal(source[:, 10:30], channels[:, 10:30])
    assert extra["seed_value"] == "5"


def test_lyrics_are_scored_from_rows_of_the_outputs(
    handlers: Handlers, repainted: GenerationResult
) -> None:
    extra = repainted.extra_outputs
    asked = {
        "pred_latent": extra["pred_latents"],
        "encoder_hidden_states": extra["encoder_hidden_states"],
        "encoder_attention_mask": extra["encoder_attention_mask"],
        "context_latents": extra["context_latents"],
        "lyric_token_ids": extra["lyric_token_idss"],
        "inference_steps": 2,
    }
    found = handlers[0].get_lyric_score(**asked)
    assert found["success"] and found["error"] is None
    assert 0 < found["lm_score"] <= 1 and 0 < found["dit_score"] <= 1
    assert found["lm_score"] != found["dit_score"]
    assert found == handlers[0].get_lyric_score(**asked)
    told = handlers[0].get_lyric_score(**{**asked, "inference_steps": 0})
    assert not told["success"] and "inference_steps" in told["error"]
    assert "not initialized" in AceStepHandler().get_lyric_score(**asked)["error"]


def test_the_handler_makes_songs_too(handlers: Handlers) -> None:
    told: list[float] = []
    made = handlers[0].generate_music(
        "x", lyrics="la", inference_steps=1, audio_code_string=CODES, task_type="cover", seed="8",
        use_random_seed=False, batch_size=1, progress=lambda share, desc="": told.append(share),
    )  # fmt: skip
    assert made["success"], made["error"]
    assert set(made) == {"audios", "status_message", "extra_outputs", "success", "error"}
    assert [set(audio) for audio in made["audios"]] == [{"tensor", "sample_rate"}]
    assert made["audios"][0]["tensor"].shape == (2, 10 * 48_000) and told
    extra = made["extra_outputs"]
    assert extra["spans"] == [("full", 0, 250)] and extra["seed_value"] == "8"
    assert extra["chunk_masks"].all()
    assert not torch.equal(extra["src_latents"], extra["target_latents"])  # codes, and silence
    wrong = handlers[0].generate_music("x", flow_edit_morph=True)
    assert not wrong["success"] and "flow_edit_morph" in wrong["error"] and wrong["audios"] == []
    with pytest.raises(TypeError, match="volume"):
        handlers[0].generate_music("x", volume=11)


def test_mp3_files_have_the_rate_and_bit_rate_that_are_said(
    handlers: Handlers, tmp_path: Path
) -> None:
    config = GenerationConfig(
        batch_size=None, seeds="1", audio_format="MP3", mp3_bitrate="64k", mp3_sample_rate=44_100
    )
    params = GenerationParams(caption="x", duration=10, inference_steps=1)
    result = generate_music(handlers[0], None, params, config, save_dir=str(tmp_path))
    assert result.success and len(result.audios) == 1, result.error
    path = Path(result.audios[0]["path"])
    assert soundfile.info(path).samplerate == 44_100 and path.suffix == ".mp3"
    assert 70_000 < path.stat().st_size < 100_000  # 10 s of 64 kbit/s, and its tags
    config.mp3_sample_rate = 8_000
    refused = generate_music(handlers[0], None, params, config)
    assert not refused.success and "mp3_sample_rate" in str(refused.error)


def test_recordings(handlers: Handlers, song: Path, tmp_path: Path) -> None:
    dit_handler = handlers[0]
    codes = dit_handler.convert_src_audio_to_codes(str(song))
    assert len(codes_in(codes)) == 10 and codes.startswith("<|audio_code_")
    assert dit_handler.convert_src_audio_to_codes(None).startswith("❌")
    assert "none.wav" in dit_handler.convert_src_audio_to_codes(str(tmp_path / "none.wav"))
    assert AceStepHandler().convert_src_audio_to_codes(str(song)).startswith("❌")
    sound = dit_handler.process_src_audio(str(song))
    assert sound is not None and sound.shape == (2, 2 * 48_000)
    heard = dit_handler.process_reference_audio(str(song))
    assert heard is not None and heard.shape == (2, 30 * 48_000)
    assert dit_handler.is_silence(torch.zeros(2, 9)) and not dit_handler.is_silence(sound)
    assert dit_handler.process_src_audio(None) is None


def test_seeds_and_instructions() -> None:
    handler = AceStepHandler()
    assert handler.prepare_seeds(2, "42,43", False) == ([42, 43], "42, 43")
    seeds, text = handler.prepare_seeds(3, 7, False)
    assert seeds[0] == 7 and len(set(seeds)) == 3 and text == ", ".join(map(str, seeds))
    assert handler.prepare_seeds(1, 7, True)[0] != [7]
    with pytest.raises(InvalidRequest):
        handler.prepare_seeds(1, "abc", False)
    assert handler.generate_instruction("lego", "drums").startswith("Generate the DRUMS track")
    assert handler.generate_instruction("extract") == "Extract the track from the audio:"
    assert handler.generate_instruction("complete", None, ["bass", "drums"]).endswith(
        "BASS | DRUMS:"
    )
    assert handler.generate_instruction("dance") == constants.DEFAULT_DIT_INSTRUCTION


# --- the language model -----------------------------------------------------------------------


def test_texts_as_dicts(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    llm, wishes = handlers[1], []
    sheet = SongSheet("slow", "la", 90, "A minor", "4", None, 30, None, False)
    engine = llm.engine()

    def perform(request: Request) -> Result[SongSheet]:
        wishes.append(request)
        return Result(request, sheet, Plan((), (), 0), Report((), 0.0), engine.model.notes)

    monkeypatch.setattr(engine, "perform", perform)
    known = {"caption": "slow", "lyrics": "la", "bpm": 90, "keyscale": "A minor",
             "timesignature": "4", "duration": 30}  # fmt: skip
    assert llm.understand_audio_from_codes(CODES, top_k=5) == (known, "done")
    assert llm.understand_audio_from_codes(" ")[0] == {} and len(wishes) == 1
    made, _ = llm.create_sample_from_query("a soft song", vocal_language="bn", temperature=0.1)
    assert made == {**known, "instrumental": False}
    assert llm.format_sample_from_input("slow", "la", {"bpm": 90})[0] == known
    drawn = {"lm_repetition_penalty": 1.0, "use_constrained_decoding": True}
    seeds = [wish.seed for wish in wishes]
    assert wishes == [
        Understand(audio_codes=CODES, lm_temperature=0.3, lm_top_k=5, seed=seeds[0], **drawn),
        CreateSample(
            caption="a soft song", vocal_language="bn", lm_temperature=0.1, seed=seeds[1],
            instrumental=False, **drawn,
        ),
        FormatSample(
            caption="slow", lyrics="la", bpm=90, lm_temperature=0.85, seed=seeds[2], **drawn
        ),
    ]  # fmt: skip
    monkeypatch.setattr(llm.engine(), "perform", _fails)
    assert llm.create_sample_from_query("x") == ({}, "error: no network")
    nobody = LLMHandler()
    assert nobody.create_sample_from_query("x") == ({}, "error: LLM not initialized")
    text, why = llm.generate_from_formatted_prompt("x")
    assert text == "" and "generate_with_stop_condition" in why


def test_plans_without_songs(handlers: Handlers) -> None:
    llm = handlers[1]
    told: list[float] = []
    one = llm.generate_with_stop_condition(
        "slow", "la la", "llm_dit", target_duration=10, user_metadata={"bpm": 90},
        use_cot_caption=False, progress=lambda share, desc="": told.append(share),
    )  # fmt: skip
    assert one["success"] and one["error"] is None and told
    assert one["extra_outputs"]["codes_count"] == 50 == len(codes_in(one["audio_codes"]))
    assert one["metadata"]["bpm"] == 90 and one["metadata"]["duration"] == 10
    assert one["metadata"]["caption"] == "slow" and one["metadata"]["keyscale"]
    costs = one["extra_outputs"]["time_costs"]
    assert costs["total_time"] == costs["phase1_time"] + costs["phase2_time"] > 0
    two = llm.generate_with_stop_condition("slow", "", "dit", batch_size=2, seeds=[1, 2])
    assert two["success"] and len(two["metadata"]) == 2 and two["audio_codes"] == ["", ""]
    assert two["extra_outputs"]["total_codes"] == 0
    given = {"bpm": 90, "keyscale": "A minor", "timesignature": "4", "duration": 20}
    asked = {"use_cot_caption": False, "use_cot_language": False}
    none = llm.generate_with_stop_condition("slow", "", "dit", user_metadata=given, **asked)  # type: ignore[arg-type]
    assert {**none["metadata"], "duration": 20} == {**given, "caption": "slow"}
    assert none["extra_outputs"]["time_costs"]["total_time"] == 0
    wrong = llm.generate_with_stop_condition("slow", "", "dance")
    assert not wrong["success"] and "infer_type" in wrong["error"]
    assert not LLMHandler().generate_with_stop_condition("x", "", "dit")["success"]


def test_prompts_and_their_answers(handlers: Handlers) -> None:
    llm = handlers[1]
    prompt = llm.build_formatted_prompt("calm piano", "hello")
    assert "# Caption\ncalm piano\n\n# Lyric\nhello\n" in prompt
    assert prompt.endswith("<|im_start|>assistant\n")
    assert "a <b> & <|im_end|>" in llm.build_formatted_prompt("a <b> & <|im_end|>", "hello")
    away = llm.build_formatted_prompt("calm", "hello", is_negative_prompt=True)
    assert "calm" not in away and "# Lyric\nhello\n" in away
    away = llm.build_formatted_prompt("calm", "hello", True, "cot", "loud")
    assert "# Caption\nloud\n" in away
    assert "user\ncalm<|im_end|>" in llm.build_formatted_prompt("calm", "hello", True, "codes")
    cot = "<think>\nbpm: 120\n</think>"
    with_cot = llm.build_formatted_prompt_with_cot("calm", "hello", cot)
    assert with_cot.endswith(f"assistant\n{cot}\n\n") and "# Caption\ncalm\n" in with_cot
    assert "loud" in llm.build_formatted_prompt_with_cot("calm", "hello", cot, True, "loud")
    assert CODES in llm.build_formatted_prompt_for_understanding(CODES)
    assert "instrumental: true" in llm.build_formatted_prompt_for_inspiration("a song", True)
    assert "# Caption\ncalm\n" in llm.build_formatted_prompt_for_format("calm", "hello")
    for build in (
        llm.build_formatted_prompt_for_understanding(CODES, True, "bad"),
        llm.build_formatted_prompt_for_inspiration("a song", False, True, "bad"),
        llm.build_formatted_prompt_for_format("calm", "hello", True, "bad"),
    ):
        assert "user\nbad<|im_end|>" in build


def test_output_of_a_model_is_parsed() -> None:
    llm = LLMHandler()
    text = (
        "<think>\nbpm: 73\ncaption: A calm piano\nduration: 273\ngenres: Chinese folk\n"
        "keyscale: G major\nlanguage: en\ntimesignature: 4\n</think>\n\n"
        "<|audio_code_56535|><|audio_code_62918|>"
    )
    assert llm.parse_lm_output(text) == (
        {
            "bpm": 73, "caption": "A calm piano", "duration": 273, "genres": "Chinese folk",
            "keyscale": "G major", "language": "en", "timesignature": "4",
        },
        "<|audio_code_56535|><|audio_code_62918|>",
    )  # fmt: skip
    assert llm.parse_lm_output("bpm: 90, 91")[1] == ""
    assert llm.has_all_metas({"bpm": 1, "keyscale": "", "timesignature": "", "duration": 1})
    assert not llm.has_all_metas({"bpm": 1}) and not llm.has_all_metas(None)


# --- sound and files --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flac", "wav", "wav32", "mp3", "opus"])
def test_sound_is_saved_and_converted(kind: str, tmp_path: Path) -> None:
    sound = torch.sin(torch.arange(48_000) / 30).repeat(2, 1) * 0.5
    saver = audio_utils.AudioSaver(default_format=kind)
    path = Path(saver.save_audio(sound, tmp_path / "a.b"))
    assert path.name == f"a.b.{'wav' if kind == 'wav32' else kind}"
    read, rate = soundfile.read(path, always_2d=True)
    assert rate == 48_000 and abs(len(read) - 48_000) < 3_500 and read.shape[1] == 2
    turned = saver.save_audio(sound.numpy().T, tmp_path / "turned", channels_first=False)
    assert soundfile.info(turned).channels == 2
    other = saver.convert_audio(path, tmp_path / "other", "flac", remove_input=True)
    assert soundfile.info(other).format == "FLAC" and not path.exists()
    batch = saver.save_batch(torch.stack((sound, sound)), tmp_path / "many", "song")
    assert [Path(one).stem for one in batch] == ["song_0000", "song_0001"]


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="format"):
        audio_utils.AudioSaver("midi")
    with pytest.raises(InvalidRequest, match="mp3_bitrate"):
        audio_utils.save_audio(
            torch.zeros(2, 9), tmp_path / "a.mp3", format="mp3", mp3_bitrate="9k"
        )
    assert list(tmp_path.iterdir()) == []


def test_levels_fades_and_names(tmp_path: Path) -> None:
    ones = torch.ones(2, 8)
    faded = audio_utils.apply_fade(ones, 4, 2)
    assert isinstance(faded, torch.Tensor) and faded[0, 0] == 0 == faded[0, -1]
    assert faded[0, 4] == 1 and ones.min() == 1
    level = audio_utils.normalize_audio(np.full((2, 8), 0.5, np.float32), -6.0)
    assert isinstance(level, np.ndarray) and level.max() == pytest.approx(10 ** (-6 / 20))
    assert audio_utils.is_audio_silent(torch.zeros(2, 8)) == (True, 0.0, 0.0)
    assert audio_utils.is_audio_silent(ones) == (False, 1.0, 1.0)
    assert audio_utils.is_audio_silent(None)[0]
    key = audio_utils.generate_uuid_from_params({"b": 1, "a": "ü"})
    assert key == audio_utils.generate_uuid_from_params({"a": "ü", "b": 1})
    assert [len(part) for part in key.split("-")] == [8, 4, 4, 4, 12]
    data = audio_utils.generate_uuid_from_audio_data(ones)
    assert data != audio_utils.generate_uuid_from_audio_data(ones, seed=1)
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    assert len(audio_utils.get_audio_file_hash(str(path))) == 64
    assert audio_utils.get_audio_file_hash(None) == ""
    assert audio_utils.get_audio_file_hash("nowhere") != audio_utils.get_audio_file_hash(path)
    assert audio_utils.get_lora_weights_hash(object()) == ""


# --- models -----------------------------------------------------------------------------------


def test_what_can_be_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = model_downloader.list_available_models()
    assert known["main"] == "ACE-Step/Ace-Step1.5" == model_downloader.MAIN_MODEL_REPO
    assert known["acestep-5Hz-lm-0.6B"] == "ACE-Step/acestep-5Hz-lm-0.6B"
    assert set(model_downloader.MAIN_MODEL_COMPONENTS) == {
        "acestep-v15-turbo", "vae", "Qwen3-Embedding-0.6B", "acestep-5Hz-lm-1.7B",
    }  # fmt: skip
    model_downloader.print_model_list()
    assert "acestep-v15-sft: ACE-Step/acestep-v15-sft" in capsys.readouterr().out
    assert model_downloader.get_checkpoints_dir(str(tmp_path)) == tmp_path
    assert not model_downloader.check_main_model_exists(tmp_path)
    assert not model_downloader.check_model_exists("acestep-v15-turbo", str(tmp_path))


def test_a_model_that_is_there_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        model_downloader, "carry_out", lambda wish, settings: asked.append(wish) or 0
    )
    nano = Path("src/headroom/models/acestep/nano").resolve() / "acestep-5Hz-lm-nano"
    (tmp_path / "acestep-5Hz-lm-0.6B").symlink_to(nano, target_is_directory=True)
    assert model_downloader.check_model_exists("acestep-5Hz-lm-0.6B", tmp_path)
    assert model_downloader.ensure_lm_model("0.6B", tmp_path)[0] and not asked
    assert model_downloader.ensure_lm_model(None, tmp_path, prefer_source="modelscope")[0]
    assert model_downloader.ensure_dit_model("acestep-v15-sft", tmp_path, token="t")[0]
    assert model_downloader.ensure_dit_model(None, tmp_path)[0]
    assert [wish.names for wish in asked] == [("main",), ("acestep-v15-sft",), ("main",)]
    assert (asked[0].source, asked[1].token, asked[1].folder) == ("modelscope", "t", tmp_path)
    assert not model_downloader.ensure_dit_model("none", tmp_path)[0]
    assert not model_downloader.download_submodel("none", tmp_path)[0]
    monkeypatch.setattr(model_downloader, "carry_out", _fails)
    ok, messages = model_downloader.download_all_models(tmp_path)
    assert not ok and all("no network" in message for message in messages)


def _fails(*given: object) -> int:
    raise HeadroomError("no network")
