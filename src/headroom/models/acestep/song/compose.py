"""Composes songs from a request: decides every open field, turns seconds into frames. No torch.

Here the documented defaults fill in what a request leaves open; a planner language model fills in
the same fields before. Nothing after this re-reads, re-defaults or re-limits a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headroom.diffusion.presets import repaint_preset
from headroom.diffusion.schedule import (
    Schedule,
    cover_switch,
    custom,
    guided_times,
    linear,
    truncate,
    turbo,
)
from headroom.diffusion.wavelets import HAAR, check_wavelet
from headroom.errors import InvalidRequest, InvalidSource
from headroom.models.acestep.networks.config import CODE_FRAMES, HOP, LATENT_RATE, SAMPLE_RATE
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.regions import MOST_SECONDS, growth
from headroom.models.acestep.requests.songs import (
    AnyMusicRequest,
    Complete,
    Cover,
    Extract,
    Lego,
    Repaint,
    Text2Music,
    keeps_source,
    usual_duration,
)
from headroom.models.acestep.requests.tasks import GENERATE, SEMANTIC, TASKS, SourceChannels
from headroom.models.acestep.requests.variants import Variant, corrects
from headroom.models.acestep.song.recordings import survey
from headroom.models.acestep.song.song import (
    Finish,
    Region,
    Repainting,
    SamplerSettings,
    Song,
    Source,
    Wavelet,
)
from headroom.models.acestep.text.codes_text import codes_from_text, codes_in
from headroom.models.acestep.text.lyric_text import has_voice
from headroom.models.acestep.text.prompts import INSTRUMENTAL, Metas, stems_caption
from headroom.models.base import Composed
from headroom.params.clamp import Note

LEAST_FRAMES = 128  # shorter latents are padded with silence: the model was trained on none


@dataclass(frozen=True, slots=True)
class Length:
    """Latent frames: how many are computed, and how many of them are kept."""

    frames: int
    kept: int

    @classmethod
    def of(cls, frames: int) -> Length:
        return cls(max(frames, LEAST_FRAMES), frames)


def compose(request: AnyMusicRequest, variant: Variant, seeds: Sequence[int]) -> Composed[Song]:
    """Decide everything. `request` is already within its limits; each seed makes one song.

    Raises InvalidSource for an unusable recording, and InvalidRequest for a region outside it.
    """
    notes: list[Note] = []
    codes = _codes(request, variant.codebook, notes)
    source = _source(request, notes)
    for path in request.reference_audio:
        survey(path, "reference_audio", notes)
    length = _length(request, codes, source)
    region = _region(request, source, length)
    seconds = _seconds(request, codes, source)
    sampling = _sampling(request, variant, bool(codes))
    instruction = _instruction(request, bool(codes))
    explicit = not isinstance(request, (Repaint, Lego)) or request.chunk_mask_mode == "explicit"
    caption = request.caption
    if variant.stems:
        caption = stems_caption(caption, request.global_caption, instruction, explicit)
    negative = _negative(request, sampling, notes)
    songs = tuple(
        Song(
            task=request.task,
            seed=seed,
            frames=length.frames,
            kept=length.kept,
            caption=caption,
            lyrics=sung_lyrics(request),
            language=request.vocal_language,
            metas=Metas(request.bpm, request.timesignature, request.keyscale, seconds),
            instruction=instruction,
            instruction_after=GENERATE if sampling.switch < sampling.steps else None,
            codes=codes,
            channels=_channels(request, bool(codes)),
            mask_everywhere=_mask(region, explicit),
            source=source,
            region=region,
            references=tuple(str(path) for path in request.reference_audio),
            retake_seed=_retake_seed(request, seed),
            retake_variance=request.retake_variance,
            sampling=sampling,
            finish=_finish(request),
            model=variant.name,
            negative=negative,
        )
        for seed in seeds
    )
    return Composed(songs, tuple(notes))


# --- words -------------------------------------------------------------------------------


def sung_lyrics(request: AnyMusicRequest) -> str:
    """The lyrics, or the mark for instrumental music."""
    sings = has_voice(request.lyrics) and not request.instrumental
    return request.lyrics.removeprefix("\ufeff") if sings else INSTRUMENTAL


def _instruction(request: AnyMusicRequest, coded: bool) -> str:
    if request.instruction is not None:
        return request.instruction
    if coded:
        return SEMANTIC
    tracks: tuple[str, ...] = ()
    if isinstance(request, (Lego, Extract)) and request.track is not None:
        tracks = (request.track,)
    elif isinstance(request, Complete):
        tracks = request.tracks
    return TASKS[request.task].instruct(tracks)


def _negative(request: AnyMusicRequest, sampling: SamplerSettings, notes: list[Note]) -> str:
    """The negative prompt of a guided song; adds a note if no step is guided."""
    negative = request.negative_prompt.strip()
    if not any(sampling.guided):
        if negative and sampling.guidance > 1:
            why = reason("no_step_guided")
            notes.append(Note("negative_prompt", request.negative_prompt, None, why))
        return ""
    return negative


def _codes(request: AnyMusicRequest, codebook: int, notes: list[Note]) -> tuple[int, ...]:
    if not isinstance(request, Text2Music) or not request.audio_codes:
        return ()
    codes = tuple(codes_from_text(request.audio_codes, codebook))
    highest = max(codes_in(request.audio_codes))
    if highest >= codebook:
        why = reason("codes_beyond_book", most=codebook - 1)
        notes.append(Note("audio_codes", highest, codebook - 1, why))
    most = MOST_SECONDS * LATENT_RATE // CODE_FRAMES
    if len(codes) > most:
        raise InvalidRequest("audio_codes", f"{len(codes)} codes", f"at most {most} ({_most()})")
    return codes


# --- length and region -------------------------------------------------------------------


def _seconds(
    request: AnyMusicRequest, codes: tuple[int, ...], source: Source | None
) -> float | None:
    """The length in seconds stated to the model: that of the song, of the codes, or of the request.

    For a song that grows beyond its source (outpainting) this is its new length. The released code
    states the length of the recording there, and so asks for another length than it computes.
    """
    if source is not None:
        return source.total / SAMPLE_RATE
    if codes:
        return len(codes) * CODE_FRAMES / LATENT_RATE
    return request.duration


def _length(request: AnyMusicRequest, codes: tuple[int, ...], source: Source | None) -> Length:
    if source is not None:
        return Length.of(source.total // HOP)
    if codes:
        return Length.of(len(codes) * CODE_FRAMES)
    seconds = request.duration if request.duration is not None else usual_duration()
    return Length.of(int(round(seconds, 1) * SAMPLE_RATE / HOP + 1e-6))


def source_seconds(request: AnyMusicRequest) -> float:
    """Length in seconds of a song that is made from a recording. Raises as `compose` does."""
    source = _source(request, [])
    if source is None:
        raise ValueError(f"{request.task} has no source")
    return source.total / SAMPLE_RATE


def _source(request: AnyMusicRequest, notes: list[Note]) -> Source | None:
    if isinstance(request, Text2Music):
        return None
    path = request.source_audio
    info = survey(path, "source_audio", notes)
    samples = round(info.frames * SAMPLE_RATE / info.rate)
    if samples < HOP:
        why = f"holds {info.seconds:.3f} s of sound"
        raise InvalidSource("source_audio", path, why, f"at least {HOP / SAMPLE_RATE} s")
    if samples > MOST_SECONDS * SAMPLE_RATE:
        samples = MOST_SECONDS * SAMPLE_RATE
    before = after = 0.0
    if isinstance(request, (Repaint, Lego)):
        before, after, growth_notes = growth(request, samples / SAMPLE_RATE)
        notes += growth_notes
    rounded = round(before * SAMPLE_RATE), round(after * SAMPLE_RATE)
    return Source(str(path), samples, *rounded)


def _region(request: AnyMusicRequest, source: Source | None, length: Length) -> Region | None:
    """The region in frames and samples of the padded song; only tasks with a region have one."""
    if source is None or not isinstance(request, (Repaint, Lego)):
        return None
    shift = source.before / SAMPLE_RATE
    start = max(min(request.start, source.samples / SAMPLE_RATE) + shift, 0.0)
    end = source.total / SAMPLE_RATE if request.end is None else request.end + shift
    first = min(int(start * SAMPLE_RATE // HOP), length.kept - 1)
    last = max(first + 1, min(int(end * SAMPLE_RATE // HOP), length.kept))
    # Nothing is generated for a last frame that is incomplete: no region can begin in it.
    start_sample = round(start * SAMPLE_RATE)
    if start_sample >= length.kept * HOP:
        start_sample = first * HOP
    stop_sample = source.total if source.after else min(round(end * SAMPLE_RATE), source.total)
    return Region(first, last, start_sample, max(start_sample + 1, stop_sample))


def _channels(request: AnyMusicRequest, coded: bool) -> SourceChannels:
    if coded:
        return SourceChannels.HINTS
    if isinstance(request, Cover) and not request.quantize_source:
        return SourceChannels.LATENTS
    return TASKS[request.task].source


def _mask(region: Region | None, explicit: bool) -> float | None:
    """1 everywhere without a region; 2 everywhere lets the model find the region itself.

    Releases of ACE-Step from March to August 2026 stored the 2 as a truth value, so it became 1.
    """
    if not explicit:
        return 2.0
    return 1.0 if region is None else None


# --- the sampler -------------------------------------------------------------------------


def _sampling(request: AnyMusicRequest, variant: Variant, coded: bool) -> SamplerSettings:
    schedule = _schedule(request, variant)
    from_source = isinstance(request, Cover) and request.cover_noise_strength > 0
    if isinstance(request, Cover):
        schedule = truncate(schedule, request.cover_noise_strength)
    switch = schedule.steps
    if isinstance(request, Cover) or (isinstance(request, Text2Music) and coded):
        switch = cover_switch(schedule, request.audio_cover_strength)
    scale = _guidance(request, variant)
    flags = guided_times(schedule, request.cfg_interval_start, request.cfg_interval_end)
    flags = flags if scale > 1 else (False,) * len(flags)
    sde = request.infer_method == "sde"
    return SamplerSettings(
        times=schedule.times,
        method=request.infer_method,
        solver="euler" if sde else request.sampler_mode,
        turbo=variant.kind == "turbo",
        guidance=scale,
        # If nothing is guided, all rules are equivalent: use the one without state.
        guidance_variant=request.guidance_variant if any(flags) else "cfg",
        guided=flags,
        norm_clamp=request.velocity_norm_threshold,
        ema=request.velocity_ema_factor,
        wavelet=_wavelet(request) if corrects(request, variant) else None,
        switch=switch,
        start_from_source=from_source,
        repainting=_repainting(request),
        noise=request.noise,
    )


def _schedule(request: AnyMusicRequest, variant: Variant) -> Schedule:
    if request.timesteps is not None:
        return custom(request.timesteps, variant.custom_times)
    steps = variant.steps if request.inference_steps is None else request.inference_steps
    shift = variant.shift if request.shift is None else request.shift
    return turbo(steps, shift) if variant.kind == "turbo" else linear(steps, shift)


def _guidance(request: AnyMusicRequest, variant: Variant) -> float:
    if variant.guidance is None:
        return 1.0
    return variant.guidance if request.guidance_scale is None else request.guidance_scale


def _wavelet(request: AnyMusicRequest) -> Wavelet:
    name = HAAR if request.dcw_mode == "pix" else request.dcw_wavelet
    check_wavelet(name)
    return Wavelet(request.dcw_mode, request.dcw_scaler, request.dcw_high_scaler, name)


def _repainting(request: AnyMusicRequest) -> Repainting | None:
    """How the region joins the rest of the source; a lego of the whole source has no rest."""
    if not isinstance(request, (Repaint, Lego)) or not keeps_source(request):
        return None
    preset = repaint_preset(request.repaint_mode, request.repaint_strength)
    frames, fade = request.repaint_latent_crossfade_frames, request.repaint_wav_crossfade_sec
    return Repainting(
        injected_share=preset.injection,
        ramp_frames=preset.blend_frames if frames is None else frames,
        fade_seconds=preset.crossfade if fade is None else fade,
    )


def _retake_seed(request: AnyMusicRequest, seed: int) -> int | None:
    if request.retake_variance == 0:
        return None
    return (seed + 1) % 2**64 if request.retake_seed is None else request.retake_seed


def _finish(request: AnyMusicRequest) -> Finish:
    normalise = request.enable_normalization
    if normalise is None:
        normalise = not keeps_source(request)  # a new level would change the kept samples
    return Finish(
        latent_shift=request.latent_shift,
        latent_rescale=request.latent_rescale,
        normalise_db=request.normalization_db if normalise else None,
        fade_in=request.fade_in,
        fade_out=request.fade_out,
        tiled=request.use_tiled_decode,
    )


def _most() -> str:
    return f"{MOST_SECONDS} s"
