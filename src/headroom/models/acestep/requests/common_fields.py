"""The fields ACE-Step's requests share, each declared once: type, default, limits, help, old
spellings.

Each class here is a group of fields that several requests share; `songs.py` combines the groups. A
field that may be None is open: its knob says who decides then. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from headroom.audio.formats import WITH_BITRATE, Format, listed
from headroom.diffusion.wavelets import HAAR, WAVELETS
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.unread_names import UNREAD
from headroom.params.knob import Choices, Knob, Limit, Many, refuse
from headroom.params.request import Request, Unread
from headroom.reasons import reason as shared

SEEDS = 2**64
SHARE = reason("share_of_whole")
_SONGS = reason("songs_at_once")
_VARIANT = "the model variant decides"
_DRAWN = "drawn at random"
_NEXT = "follows from the seed of the song"
PRESET = "the repaint mode decides"

SEED = Limit(0, SEEDS - 1, shared("seed_bits"), least=0, most=SEEDS - 1)


def _not_empty(value: object) -> object:
    if value == "":
        raise PydanticCustomError("empty", "an empty path")
    return value


File = Annotated[Path, BeforeValidator(_not_empty)]


class Fields(Request):
    """What all requests share besides fields: the order of the headings, and the names that match
    no field."""

    unread: ClassVar[Mapping[str, Unread]] = UNREAD

    groups: ClassVar[tuple[str, ...]] = (
        "Song",
        "Source",
        "Cover",
        "Repaint",
        "Diffusion",
        "Guidance",
        "Language model",
        "Output",
    )


class DiffusionFields(Fields):
    """How the latents are denoised, and how many songs at once."""

    inference_steps: Annotated[
        int | None,
        Limit(1, 200, reason("steps_inaudible"), least=1),
        Knob(
            "Diffusion",
            "Denoising steps.",
            step=1,
            left_open=_VARIANT,
            old=("infer_steps", "steps"),
            basic=True,
        ),
    ] = None
    shift: Annotated[
        float | None,
        Limit(1, 5, reason("shift_trained"), above=0),
        Knob(
            "Diffusion",
            "Bends the schedule: more of the steps at high noise, where form is decided.",
            step=0.1,
            left_open=_VARIANT,
        ),
    ] = None
    timesteps: Annotated[
        tuple[float, ...] | None,
        Many(","),
        Knob(
            "Diffusion",
            "Noise levels to visit, falling from 1, instead of steps and shift.",
            left_open="steps and shift decide",
        ),
    ] = None
    infer_method: Annotated[
        Literal["ode", "sde"],
        Knob(
            "Diffusion",
            "ode follows one path; sde draws fresh noise at every step.",
            old=("method",),
        ),
    ] = "ode"
    sampler_mode: Annotated[
        Literal["euler", "heun"],
        Knob("Diffusion", "Solver of ode: heun looks at every step twice and costs double."),
    ] = "euler"
    batch_size: Annotated[
        int,
        Limit(1, 8, _SONGS, least=1),
        Knob(
            "Output",
            "Songs made at once, each with its own seed.",
            step=1,
            basic=True,
            role="count",
        ),
    ] = 1
    seed: Annotated[
        int | None,
        SEED,
        Knob(
            "Diffusion",
            "Same seed, same song.",
            left_open=_DRAWN,
            old=("manual_seed",),
            open_values=(-1,),
            basic=True,
        ),
    ] = None
    seeds: Annotated[
        tuple[Annotated[int, SEED], ...],
        Many(","),
        Limit(0, 8, _SONGS, follows="batch_size"),
        Knob(
            "Diffusion",
            "A seed for each song of the batch, instead of one.",
            open_values=(-1,),
        ),
    ] = ()
    noise: Annotated[
        Literal["headroom", "official"],
        Knob(
            "Diffusion",
            "headroom: the same noise on every device. official: as the reference draws it.",
        ),
    ] = "headroom"
    retake_seed: Annotated[
        int | None,
        SEED,
        Knob(
            "Diffusion", "Seed of the second noise of a retake.", left_open=_NEXT, open_values=(-1,)
        ),
    ] = None
    retake_variance: Annotated[
        float,
        Limit(0, 1, SHARE, least=0),
        Knob("Diffusion", "How far a retake goes from the first take; 0 not at all.", step=0.01),
    ] = 0.0
    velocity_norm_threshold: Annotated[
        float,
        Limit(0, 10, reason("norm_never_acts"), least=0),
        Knob(
            "Diffusion", "Holds back steps that are too long for the latents; 0 is off.", step=0.1
        ),
    ] = 0.0
    velocity_ema_factor: Annotated[
        float,
        Limit(0, 1, SHARE, least=0),
        Knob("Diffusion", "Share of the step before in each step; 0 is off.", step=0.01),
    ] = 0.0
    dcw_enabled: Annotated[
        bool | None,
        Knob(
            "Diffusion",
            "Correct each step band by band with wavelets (DCW).",
            left_open=f"{_VARIANT}: on for turbo, off for base and sft",
        ),
    ] = None
    dcw_mode: Annotated[
        Literal["low", "high", "double", "pix"],
        Knob("Diffusion", "Bands that DCW corrects; pix works without bands."),
    ] = "double"
    dcw_scaler: Annotated[
        float,
        Limit(0, 1, reason("correction_overshoots"), least=0),
        Knob("Diffusion", "Strength of DCW on the low band.", step=0.01),
    ] = 0.05
    dcw_high_scaler: Annotated[
        float,
        Limit(0, 1, reason("correction_overshoots"), least=0),
        Knob("Diffusion", "Strength of DCW on the high band.", step=0.01),
    ] = 0.02
    dcw_wavelet: Annotated[
        str,
        Choices(WAVELETS),
        Knob("Diffusion", "Wavelet of DCW; all but haar need PyWavelets (extra `wavelets`)."),
    ] = HAAR

    @property
    def songs(self) -> int:
        """Number of songs that will be made: the batch size, or the number of seeds if larger."""
        return max(self.batch_size, len(self.seeds))

    @model_validator(mode="after")
    def _timesteps_fall(self) -> DiffusionFields:
        times = self.timesteps
        if times is None:
            return self
        falling = all(a > b for a, b in pairwise(times))
        if not times or not falling or not all(0 <= t <= 1 for t in times) or times[0] == 0:
            allowed = "numbers from 1 down to 0, each below the one before, the first above 0"
            raise refuse(allowed, field="timesteps", value=times)
        return self


class GuidanceFields(Fields):
    """How strictly the caption is followed."""

    guidance_scale: Annotated[
        float | None,
        Limit(1, 15, reason("guidance_range"), least=0),
        Knob(
            "Guidance",
            "How strictly to follow the caption; 1 is no guidance.",
            step=0.1,
            left_open=_VARIANT,
            basic=True,
        ),
    ] = None
    guidance_variant: Annotated[
        Literal["apg", "adg", "adg_w_norm", "adg_wo_clip", "cfg"],
        Knob(
            "Guidance",
            "Rule of guidance: projected (apg), by angle (adg; also with the norm kept, or "
            "unclipped), or plain (cfg).",
            old_words=(
                ("apg_classic", "apg"),
                ("adg_renormalised", "adg_w_norm"),
                ("adg_unclipped", "adg_wo_clip"),
            ),
            old_switches=(("use_adg", "adg"),),
        ),
    ] = "apg"
    cfg_interval_start: Annotated[
        float,
        Limit(0, 1, reason("noise_levels"), least=0),
        Knob("Guidance", "Lowest noise level that is guided.", step=0.01),
    ] = 0.0
    cfg_interval_end: Annotated[
        float,
        Limit(0, 1, reason("noise_levels"), least=0),
        Knob("Guidance", "Highest noise level that is guided.", step=0.01),
    ] = 1.0

    negative_prompt: Annotated[
        str,
        Limit(0, 512, reason("caption_length")),
        Knob(
            "Guidance",
            "What the sound is guided away from, in the words of a caption; none: from nothing.",
            lines=2,
            old=("negative_caption", "caption_negative"),
        ),
    ] = ""

    @model_validator(mode="after")
    def _interval_in_order(self) -> GuidanceFields:
        if self.cfg_interval_start > self.cfg_interval_end:
            allowed = f"at most cfg_interval_end ({self.cfg_interval_end:g})"
            raise refuse(allowed, field="cfg_interval_start", value=self.cfg_interval_start)
        return self


class OutputFields(Fields):
    """What becomes of the sound, and who plans it."""

    thinking: Annotated[
        bool,
        Knob(
            "Language model",
            "Let a language model plan the song first; needs a planner model.",
            old=("think",),
            basic=True,
        ),
    ] = False
    use_tiled_decode: Annotated[
        bool,
        Knob(
            "Output",
            "Decode tile by tile. Off: the whole song at once, where that fits; it sounds alike.",
        ),
    ] = True
    latent_shift: Annotated[
        float,
        Limit(-1, 1, reason("latents_unknown")),
        Knob("Output", "Added to the latents before decoding.", step=0.01),
    ] = 0.0
    latent_rescale: Annotated[
        float,
        Limit(0.1, 3, reason("latents_unknown"), above=0),
        Knob("Output", "Multiplies the latents before decoding.", step=0.01),
    ] = 1.0
    enable_normalization: Annotated[
        bool | None,
        Knob(
            "Output",
            "Bring the loudest sample to the level below.",
            left_open="on, but off where a region keeps the samples of its source around it",
        ),
    ] = None
    normalization_db: Annotated[
        float,
        Limit(-60, 0, reason("clips")),
        Knob("Output", "Peak level of the song.", unit="dB", step=0.5, units=("db", "dbfs")),
    ] = -1.0
    fade_in: Annotated[
        float,
        Limit(0, 60, reason("fade_length"), least=0),
        Knob(
            "Output",
            "Length of the fade at the beginning.",
            unit="s",
            step=0.1,
            old=("fade_in_duration",),
        ),
    ] = 0.0
    fade_out: Annotated[
        float,
        Limit(0, 60, reason("fade_length"), least=0),
        Knob(
            "Output",
            "Length of the fade at the end.",
            unit="s",
            step=0.1,
            old=("fade_out_duration",),
        ),
    ] = 0.0
    audio_format: Annotated[
        Format | None,
        Knob(
            "Output",
            "Kind of file: wav has 16 bits, wav24 has 24, wav32 is floating point, m4a is AAC.",
            left_open="the name of the output file decides",
            stand_in="flac",
            old_words=(("wav16", "wav"), ("aac", "m4a")),
            basic=True,
        ),
    ] = None
    bitrate: Annotated[
        int | None,
        Limit(32, 320, reason("mp3_rates"), above=0),
        Knob(
            "Output",
            f"Bit rate of an {listed(WITH_BITRATE)} file.",
            unit="kbit/s",
            step=8,
            left_open="the format's usual one",
            old=("mp3_bitrate", "opus_bitrate", "audio_bitrate"),
            units=("k", "kb", "kbps", "kb/s", "kbit/s"),
        ),
    ] = None
