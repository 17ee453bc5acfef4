"""Converts the arguments of `AceStepHandler.generate_music` to those of `acestep.inference`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from acestep.explicit_fields import ExplicitFields
from acestep.inference_types import GenerationConfig, GenerationParams
from headroom.errors import InvalidRequest
from headroom.models.acestep.requests.tasks import GENERATE

DEFAULT_BATCH_SIZE = 2  # the default number of songs
_RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "captions": "caption",
        "key_scale": "keyscale",
        "time_signature": "timesignature",
        "audio_duration": "duration",
    }
)
_PARAMS = frozenset(field.name for field in fields(GenerationParams))


@dataclass
class MusicCall(ExplicitFields):
    """The arguments of a call; names, order and defaults are ACE-Step's."""

    captions: str = ""
    global_caption: str = ""
    lyrics: str = ""
    bpm: int | None = None
    key_scale: str = ""
    time_signature: str = ""
    vocal_language: str = "en"
    inference_steps: int = 8
    guidance_scale: float = 7.0
    use_random_seed: bool = True
    seed: str | float | int | None = -1
    reference_audio: str | None = None
    audio_duration: float | None = None
    batch_size: int | None = None
    src_audio: str | None = None
    audio_code_string: str | Sequence[str] = ""
    repainting_start: float = 0.0
    repainting_end: float | None = None
    instruction: str = GENERATE
    audio_cover_strength: float = 1.0
    cover_noise_strength: float = 0.0
    task_type: str = "text2music"
    use_adg: bool = False
    cfg_interval_start: float = 0.0
    cfg_interval_end: float = 1.0
    shift: float = 1.0
    infer_method: str = "ode"
    sampler_mode: str = "euler"
    velocity_norm_threshold: float = 0.0
    velocity_ema_factor: float = 0.0
    dcw_enabled: bool | None = None
    dcw_mode: str = "double"
    dcw_scaler: float = 0.05
    dcw_high_scaler: float = 0.02
    dcw_wavelet: str = "haar"
    use_tiled_decode: bool = True
    timesteps: Sequence[float] | None = None
    latent_shift: float = 0.0
    latent_rescale: float = 1.0
    chunk_mask_mode: str = "auto"
    repaint_latent_crossfade_frames: int = 10
    repaint_wav_crossfade_sec: float = 0.0
    repaint_mode: str = "balanced"
    repaint_strength: float = 0.5
    source_repaint_latents: object = None
    retake_seed: str | float | int | None = None
    retake_variance: float = 0.0
    flow_edit_morph: bool = False
    flow_edit_source_caption: str = ""
    flow_edit_source_lyrics: str = ""
    flow_edit_n_min: float = 0.0
    flow_edit_n_max: float = 1.0
    flow_edit_n_avg: int = 1
    progress: Callable[..., object] | None = None

    def params(self) -> GenerationParams:
        """The passed arguments in the form of `acestep.inference`, without planning by a language
        model. Raises InvalidRequest for codes that differ from song to song."""
        values: dict[str, Any] = {}
        for field in fields(self):
            name = _RENAMED.get(field.name, field.name)
            if name in _PARAMS and name != "seed" and self.is_set(field.name):
                values[name] = getattr(self, field.name)
        values.setdefault("vocal_language", self.vocal_language)
        if values.get("duration") is None:
            values.pop("duration", None)
        if self.source_repaint_latents is not None:
            allowed = "nothing: the recording is encoded where it is needed"
            raise InvalidRequest("source_repaint_latents", "latents", allowed)
        return GenerationParams(**values, audio_codes=self._codes(), thinking=False)

    def config(self) -> GenerationConfig:
        """The number of songs and their seeds: random ones, unless random seeds are switched off,
        or a seed is passed without setting that switch."""
        count = DEFAULT_BATCH_SIZE if self.batch_size is None else self.batch_size
        random = self.use_random_seed and (
            self.is_set("use_random_seed") or not self.is_set("seed")
        )
        return GenerationConfig(
            batch_size=count, use_random_seed=random, seeds=None if random else self.seed
        )

    def _codes(self) -> str:
        if isinstance(self.audio_code_string, str):
            return self.audio_code_string
        distinct = {str(one or "").strip() for one in self.audio_code_string}
        if len(distinct) > 1:
            allowed = "the same codes for all songs of a call"
            raise InvalidRequest("audio_code_string", f"{len(distinct)} different ones", allowed)
        return next(iter(distinct), "")


def method_signature() -> inspect.Signature:
    """The signature of a method that takes these arguments."""
    signature = inspect.signature(MusicCall)
    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return signature.replace(
        parameters=[self_parameter, *signature.parameters.values()], return_annotation="dict"
    )
