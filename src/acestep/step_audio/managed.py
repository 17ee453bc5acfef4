"""Compatible `tts_gpu_managed.GPUManagedTTS`: the same calls, and the card is free between them."""

from __future__ import annotations

import torch

from acestep.step_audio.tokenizer import StepAudioTokenizer
from acestep.step_audio.tts import StepAudioTTS, engine_for


class GPUManagedTTS(StepAudioTTS):
    """`StepAudioTTS` with memory management: loaded with the first request, off the card after each
    one and when idle.

    gpu_idle_timeout       seconds after which an idle part leaves
    enable_gpu_management  False: as `StepAudioTTS`
    """

    def __init__(
        self,
        model_path: str,
        audio_tokenizer: StepAudioTokenizer,
        model_source: str = "auto",
        tts_model_id: str | None = None,
        quantization_config: str | None = None,
        torch_dtype: torch.dtype = torch.bfloat16,
        device_map: str = "cuda",
        gpu_idle_timeout: float = 600,
        enable_gpu_management: bool = True,
    ) -> None:
        self.enable_gpu_management = enable_gpu_management
        idle = float(gpu_idle_timeout) if enable_gpu_management else None
        self._engine = engine_for(
            model_path, audio_tokenizer, quantization_config, torch_dtype, device_map, idle
        )
        self.audio_tokenizer = audio_tokenizer

    def get_gpu_status(self) -> dict[str, object]:
        """What is where, in bytes and seconds; `{"enabled": False}` without management."""
        if not self.enable_gpu_management:
            return {"enabled": False}
        return {"enabled": True, **self._engine.get_gpu_status()}

    def force_offload(self) -> None:
        """Move everything off the card now."""
        self._engine.offload()

    def force_release(self) -> None:
        """Drop everything from the card and from host memory."""
        self._engine.release()
