"""The module and function names of Step-Audio-EditX's programs, implemented by `headroom`."""

from acestep.step_audio.managed import GPUManagedTTS
from acestep.step_audio.tokenizer import StepAudioTokenizer
from acestep.step_audio.tts import HTTPException, StepAudioTTS

__all__ = ["GPUManagedTTS", "HTTPException", "StepAudioTTS", "StepAudioTokenizer"]
