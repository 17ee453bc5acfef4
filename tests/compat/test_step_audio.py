"""The names of Step-Audio-EditX's programs: signatures, returns, exceptions as they are stated."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from acestep.step_audio import GPUManagedTTS, HTTPException, StepAudioTokenizer, StepAudioTTS
from acestep.step_audio import infer as infer_module
from acestep.step_audio.tokenizer import PARAFORMER_ID
from headroom.errors import InvalidRequest
from headroom.models.stepaudio.catalogue import BUNDLED, TINY
from headroom.models.stepaudio.layout import TOKENIZER
from headroom.runtime.entry import State

ROOT = Path(__file__).resolve().parents[2]
NONE = inspect.Parameter.empty
# Typed in from the published program: parameters with their defaults.
TTS = {
    "model_path": NONE, "audio_tokenizer": NONE, "model_source": "auto", "tts_model_id": None,
    "quantization_config": None, "torch_dtype": torch.bfloat16, "device_map": "cuda",
}  # fmt: skip
CLONE = {"prompt_wav_path": NONE, "prompt_text": NONE, "target_text": NONE}
EDIT = {"input_audio_path": NONE, "audio_text": NONE, "edit_type": NONE, "edit_info": None,
        "text": None}  # fmt: skip
SIGNATURES: list[tuple[Callable[..., object], dict[str, object]]] = [
    (StepAudioTTS.__init__, TTS),
    (GPUManagedTTS.__init__, {**TTS, "gpu_idle_timeout": 600, "enable_gpu_management": True}),
    (StepAudioTTS.clone, CLONE), (GPUManagedTTS.clone, CLONE),
    (StepAudioTTS.edit, EDIT), (GPUManagedTTS.edit, EDIT),
    (GPUManagedTTS.get_gpu_status, {}), (GPUManagedTTS.force_offload, {}),
    (GPUManagedTTS.force_release, {}),
    (StepAudioTokenizer.__init__,
     {"encoder_path": NONE, "model_source": "auto", "funasr_model_id": PARAFORMER_ID}),
    (StepAudioTokenizer.wav2token,
     {"audio": NONE, "sr": NONE, "enable_trim": True, "energy_norm": True}),
    (StepAudioTokenizer.__call__, {"audio": NONE, "sr": NONE}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "stated"), SIGNATURES, ids=lambda one: getattr(one, "__qualname__", "")
)
def test_signatures_are_those_that_are_stated(
    function: Callable[..., object], stated: dict[str, object]
) -> None:
    _, *parameters = inspect.signature(function).parameters.values()
    assert {one.name: one.default for one in parameters} == stated
    assert [one.name for one in parameters] == list(stated)
    assert all(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    time = np.arange(16_000) / 16_000
    tone = 0.3 * np.sin(1300 * time) * (1 + 0.3 * np.sin(8 * time))
    soundfile.write(folder / "voice.wav", tone, 16_000)
    soundfile.write(folder / "low.wav", tone[::2], 8_000)
    return folder


@pytest.fixture(autouse=True)
def kept_here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HEADROOM_CACHE_DIR", str(place / "cache"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> StepAudioTokenizer:
    return StepAudioTokenizer(str(BUNDLED / TOKENIZER))


def model(
    tokenizer: StepAudioTokenizer, kind: type, **more: object
) -> StepAudioTTS | GPUManagedTTS:
    made = kind(str(BUNDLED / TINY), tokenizer, torch_dtype=torch.float32, **more)
    assert isinstance(made, kind)
    return made


def test_the_tokenizer_hears_codes(tokenizer: StepAudioTokenizer, place: Path) -> None:
    samples, rate = soundfile.read(place / "voice.wav", dtype="float32")
    audio = torch.from_numpy(samples)[None]
    ids, linguistic, semantic = tokenizer.wav2token(audio, rate)
    assert len(ids) % 5 == 0 and 65_536 <= min(ids) <= max(ids) < 70_656
    assert ids[:2] == [65_536 + code for code in linguistic[:2]]
    assert ids[2:5] == [66_560 + code for code in semantic[:3]]
    text = tokenizer(audio, rate)
    assert text.startswith("<audio_") and text.count("<audio_") % 5 == 0
    with pytest.raises(AssertionError, match="16000"):
        tokenizer.wav2token(audio, 8000)


@pytest.mark.ci  # speech of up to 30 s, by both classes
@pytest.mark.parametrize("kind", [StepAudioTTS, GPUManagedTTS])
def test_both_classes_return_and_raise_the_same(
    tokenizer: StepAudioTokenizer, place: Path, kind: type
) -> None:
    tts = model(tokenizer, kind)
    voice = str(place / "voice.wav")
    for sound, rate in (
        tts.clone(voice, "c", "ab"), tts.edit(voice, "c", "emotion", "sad"),
        tts.edit(voice, "c", "paralinguistic", None, "[Sigh] c"),
    ):  # fmt: skip
        assert rate == 24_000 and sound.ndim == 2 and sound.shape[0] == 1 and sound.shape[1] > 0
        assert sound.dtype == torch.float32 and sound.device.type == "cpu"
    with pytest.raises(HTTPException, match="Unsupported edit_type: sing") as caught:
        tts.edit(voice, "c", "sing")
    assert (caught.value.status_code, caught.value.detail) == (400, "Unsupported edit_type: sing")
    with pytest.raises(AssertionError, match="16000"):
        tts.clone(str(place / "low.wav"), "c", "ab")
    with pytest.raises(InvalidRequest, match="edit_info"):
        tts.edit(voice, "c", "emotion", "purple")


def test_what_is_not_there_is_refused(tokenizer: StepAudioTokenizer, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"speech_tokenizer_v1\.onnx"):
        StepAudioTokenizer(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no model folder"):
        StepAudioTTS(str(tmp_path / "none"), tokenizer)
    with pytest.raises(ValueError, match="'int2'"):
        model(tokenizer, StepAudioTTS, quantization_config="int2")


@pytest.mark.ci  # speech of up to 30 s
def test_managed_it_holds_nothing_before_and_the_card_is_free_between(
    tokenizer: StepAudioTokenizer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model(tokenizer, GPUManagedTTS, enable_gpu_management=False).get_gpu_status() == {  # type: ignore[union-attr]
        "enabled": False
    }
    tts = model(tokenizer, GPUManagedTTS, device_map="simulated", gpu_idle_timeout=60)
    assert isinstance(tts, GPUManagedTTS)
    engine = tts._engine
    assert not engine.has_parts  # nothing is loaded before the first request
    told = tts.clone(str(place / "voice.wav"), "c", "ab")
    assert told[0].shape[1] > 0
    status = tts.get_gpu_status()
    assert status["enabled"] is True and status["allocated_bytes"] == 0
    assert {part.state for part in engine.status()} == {State.HOST}
    with pytest.raises(HTTPException):
        tts.edit(str(place / "voice.wav"), "c", "sing")
    assert engine.settings.gpu_idle_timeout == 60
    tts.force_offload()
    tts.force_release()
    assert {part.state for part in engine.status()} == {State.ABSENT}


@pytest.mark.parametrize(
    ("module", "name"),
    [("tts", "StepAudioTTS"), ("tokenizer", "StepAudioTokenizer"),
     ("tts_gpu_managed", "GPUManagedTTS"), ("gpu_manager", "get_gpu_manager")],
)  # fmt: skip
def test_the_names_are_there_in_a_checkout(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    found: ModuleType = importlib.import_module(module)
    assert getattr(found, name).__name__ == name
    monkeypatch.delitem(sys.modules, module)


def test_the_older_program_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(infer_module, "run", lambda words: asked.append(words) or 0)
    infer_module.main(["--edit_type", "style", "--edit-info", "whisper"])
    infer_module.main(["--edit-type=clone", "--output-dir", "here", "--generated-text", "hi"])
    assert asked[0][:4] == ["speech", "edit", "--output-dir", "./output_dir"]
    assert asked[1] == ["speech", "clone", "--edit-type=clone", "--output-dir", "here",
                        "--generated-text", "hi"]  # fmt: skip
