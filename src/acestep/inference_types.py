"""Parameters and results of `acestep.inference`, with the fields and defaults of ACE-Step's API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from acestep.explicit_fields import ExplicitFields
from headroom.models.acestep.requests.tasks import GENERATE
from headroom.models.acestep.text.lm_prompts import NOTHING


@dataclass
class GenerationParams(ExplicitFields):
    """The parameters of one generation; names, order and defaults are ACE-Step's.

    An attribute that was not set reads as ACE-Step's default but leaves the choice to the model:
    `shift` reads as 1.0 and is 3.0 on turbo. A value that was passed is used, even if it equals
    that default.
    """

    task_type: str = "text2music"
    instruction: str = GENERATE
    reference_audio: str | None = None
    src_audio: str | None = None
    audio_codes: str = ""
    caption: str = ""
    global_caption: str = ""
    lyrics: str = ""
    instrumental: bool = False
    vocal_language: str = "unknown"
    bpm: int | None = None
    keyscale: str = ""
    timesignature: str = ""
    duration: float = -1.0
    enable_normalization: bool = True
    normalization_db: float = -1.0
    fade_in_duration: float = 0.0
    fade_out_duration: float = 0.0
    latent_shift: float = 0.0
    latent_rescale: float = 1.0
    inference_steps: int = 8
    seed: int = -1
    guidance_scale: float = 7.0
    use_adg: bool = False
    guidance_variant: str | None = None
    guidance_params: dict[str, Any] | None = None
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
    timesteps: list[float] | None = None
    repainting_start: float = 0.0
    repainting_end: float = -1
    chunk_mask_mode: str = "auto"
    repaint_latent_crossfade_frames: int = 10
    repaint_wav_crossfade_sec: float = 0.0
    repaint_mode: str = "balanced"
    repaint_strength: float = 0.5
    retake_seed: str | int | None = None
    retake_variance: float = 0.0
    flow_edit_morph: bool = False
    flow_edit_source_caption: str = ""
    flow_edit_source_lyrics: str = ""
    flow_edit_n_min: float = 0.0
    flow_edit_n_max: float = 1.0
    flow_edit_n_avg: int = 1
    audio_cover_strength: float = 1.0
    cover_noise_strength: float = 0.0
    thinking: bool = True
    lm_temperature: float = 0.85
    lm_cfg_scale: float = 2.0
    lm_top_k: int = 0
    lm_top_p: float = 0.9
    lm_negative_prompt: str = NOTHING
    use_cot_metas: bool = True
    use_cot_caption: bool = True
    use_cot_lyrics: bool = False
    use_cot_language: bool = True
    use_constrained_decoding: bool = True
    cot_bpm: int | None = None
    cot_keyscale: str = ""
    cot_timesignature: str = ""
    cot_duration: float | None = None
    cot_vocal_language: str = "unknown"
    cot_caption: str = ""
    cot_lyrics: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass
class GenerationConfig(ExplicitFields):
    """The number of songs, their seeds, and their files.

    seeds            one or several, as numbers or as text with commas; further songs, and those
                     whose seed is below 0, get a random one
    batch_size       None: one song
    mp3_bitrate      of an mp3 file, such as `128k`
    mp3_sample_rate  of an mp3 file, Hz
    """

    batch_size: int | None = 2
    allow_lm_batch: bool = False
    use_random_seed: bool = True
    seeds: Sequence[int | float | str] | int | float | str | None = None
    lm_batch_chunk_size: int = 8
    constrained_decoding_debug: bool = False
    audio_format: str = "flac"
    mp3_bitrate: str = "128k"
    mp3_sample_rate: int = 48_000

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass
class GenerationResult:
    """The songs, or the reason there are none."""

    audios: list[dict[str, Any]] = field(default_factory=list)
    status_message: str = ""
    extra_outputs: dict[str, Any] = field(default_factory=dict)
    success: bool = True
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """All fields; tensors are kept as tensors."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass
class UnderstandResult:
    """A song sheet, or the reason there is none."""

    caption: str = ""
    lyrics: str = ""
    bpm: int | None = None
    duration: float | None = None
    keyscale: str = ""
    language: str = ""
    timesignature: str = ""
    status_message: str = ""
    success: bool = True
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass
class FormatSampleResult(UnderstandResult):
    """An improved caption and lyrics."""


@dataclass
class CreateSampleResult(UnderstandResult):
    """A song sheet made from one line of text."""

    instrumental: bool = False
