"""What goes into `acestep.inference` and comes out: fields and defaults of ACE-Step's own API."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class GenerationParams:
    """What is asked of one generation; names and defaults are ACE-Step's."""

    task_type: str = "text2music"
    instruction: str = "Fill the audio semantic mask based on the given conditions:"
    reference_audio: str | None = None
    src_audio: str | None = None
    audio_codes: str = ""
    caption: str = ""
    lyrics: str = ""
    instrumental: bool = False
    vocal_language: str = "unknown"
    bpm: int | None = None
    keyscale: str = ""
    timesignature: str = ""
    duration: float = -1.0
    inference_steps: int = 8
    seed: int = -1
    guidance_scale: float = 7.0
    use_adg: bool = False
    cfg_interval_start: float = 0.0
    cfg_interval_end: float = 1.0
    shift: float = 1.0
    infer_method: str = "ode"
    timesteps: list[float] | None = None
    repainting_start: float = 0.0
    repainting_end: float = -1
    audio_cover_strength: float = 1.0
    thinking: bool = True
    lm_temperature: float = 0.85
    lm_cfg_scale: float = 2.0
    lm_top_k: int = 0
    lm_top_p: float = 0.9
    lm_negative_prompt: str = "NO USER INPUT"
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
class GenerationConfig:
    """How many songs, with which seeds, into which files."""

    batch_size: int = 2
    allow_lm_batch: bool = False
    use_random_seed: bool = True
    seeds: list[int] | int | None = None
    lm_batch_chunk_size: int = 8
    constrained_decoding_debug: bool = False
    audio_format: str = "flac"

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass
class GenerationResult:
    """The songs, or why there are none."""

    audios: list[dict[str, Any]] = field(default_factory=list)
    status_message: str = ""
    extra_outputs: dict[str, Any] = field(default_factory=dict)
    success: bool = True
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """All fields; tensors stay what they are."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass
class UnderstandResult:
    """A song sheet, or why there is none."""

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
    """A caption and lyrics said better."""


@dataclass
class CreateSampleResult(UnderstandResult):
    """A song out of a line of text."""

    instrumental: bool = False
