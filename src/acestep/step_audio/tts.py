"""Compatible `tts.StepAudioTTS`: clones voices and edits speech through one engine."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from acestep.step_audio.tokenizer import StepAudioTokenizer
from headroom import paths
from headroom.audio.files import probe_audio
from headroom.engine.engine import Engine
from headroom.log import log
from headroom.memory.plan import Wishes
from headroom.models.stepaudio.composing import LOWEST_RATE
from headroom.models.stepaudio.requests.speech import CHANGES, Clone, Edit, EditType
from headroom.params.request import Request
from headroom.settings import load

FAMILY = "stepaudio"
QUANTIZATIONS = (None, "int4", "int8", "awq-4bit")
_INT8 = "int8"
_OF_CARD = "cuda"
_ANY = "auto"


class HTTPException(Exception):
    """An error with the status that a web server is to answer."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code, self.detail = status_code, detail


class StepAudioTTS:
    """One model folder and the tokenizer's.

    model_path           the folder of the model
    audio_tokenizer      the folder of the tokenizer is its; the engine has one of its own
    model_source         of the older program, and not used: nothing is downloaded here
    tts_model_id         not used, as above
    quantization_config  weights of 4 bits are stored in 8: 4 bits break the audio codes

    Raises ValueError for an unknown quantisation, FileNotFoundError for a folder that is not there.
    """

    def __init__(
        self,
        model_path: str,
        audio_tokenizer: StepAudioTokenizer,
        model_source: str = "auto",
        tts_model_id: str | None = None,
        quantization_config: str | None = None,
        torch_dtype: torch.dtype = torch.bfloat16,
        device_map: str = _OF_CARD,
    ) -> None:
        self._engine = engine_for(
            model_path, audio_tokenizer, quantization_config, torch_dtype, device_map
        )
        self.audio_tokenizer = audio_tokenizer

    def clone(self, prompt_wav_path: str, prompt_text: str, target_text: str) -> tuple[Tensor, int]:
        """A text in the voice of a recording → samples [1, n] and their rate."""
        _check_rate(prompt_wav_path)
        values = {
            "text": target_text, "prompt_audio": prompt_wav_path, "prompt_text": prompt_text,
        }  # fmt: skip
        return _made(self._engine, Clone.model_validate(values))

    def edit(
        self,
        input_audio_path: str,
        audio_text: str,
        edit_type: str,
        edit_info: str | None = None,
        text: str | None = None,
    ) -> tuple[Tensor, int]:
        """A recording, changed → samples [1, n] and their rate.

        Raises HTTPException (400) for a kind of change that there is not.
        """
        if edit_type not in get_args(EditType):
            raise HTTPException(status_code=400, detail=f"Unsupported edit_type: {edit_type}")
        _check_rate(input_audio_path)
        values: dict[str, object] = {
            "source_audio": input_audio_path, "source_text": audio_text, "edit_type": edit_type,
        }  # fmt: skip
        if edit_type in CHANGES:
            values["edit_info"] = edit_info
        elif edit_type == "paralinguistic":
            values["text"] = text or ""
        return _made(self._engine, Edit.model_validate(values))


def engine_for(
    model_path: str,
    audio_tokenizer: StepAudioTokenizer,
    quantization: str | None,
    dtype: torch.dtype,
    device: str,
    idle_timeout: float | None = None,
) -> Engine:
    """The engine of a model folder, with memory management if there is an idle timeout in seconds.
    Nothing is loaded. Raises ValueError, FileNotFoundError."""
    if quantization not in QUANTIZATIONS:
        named = ", ".join(map(str, QUANTIZATIONS))
        raise ValueError(f"unknown quantization {quantization!r}; there are: {named}")
    folder = Path(model_path)
    if not (paths.is_dir(folder) and paths.is_dir(audio_tokenizer.folder)):
        raise FileNotFoundError(f"no model folder: {folder}")
    if quantization not in (None, _INT8):
        log.warning("%s: weights are stored in 8 bits, as 4 break the audio codes", quantization)
    wishes = Wishes(precision=None if quantization is None else _INT8)
    return Engine(
        family=FAMILY,
        model=folder.name,
        checkpoint_dir=folder.parent,
        device=_ANY if device == _OF_CARD and not torch.cuda.is_available() else device,
        dtype=str(dtype).rpartition(".")[2],
        wishes=wishes,
        settings=load(),
        gpu_management=idle_timeout is not None,
        gpu_idle_timeout=idle_timeout,
    )


def _check_rate(path: str) -> None:
    rate = probe_audio(Path(path), "audio", 1.0).rate
    assert rate >= LOWEST_RATE, f"the sample rate has to be at least {LOWEST_RATE}, it is {rate}"


def _made(engine: Engine, request: Request) -> tuple[Tensor, int]:
    audio = engine.generate(request).output.audios[0]
    return audio.samples.float().cpu(), audio.rate
