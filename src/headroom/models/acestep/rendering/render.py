"""Renders songs to audio. Read it top to bottom: material, condition, denoise, decode.

Each stage is one call of `run.stage`, which puts the parts it needs where the plan wants them;
nothing here knows where that is. Latents are [B, T, 64], songs of different lengths side by side,
zero beyond each song's frames; noise is drawn on the host in fp32 from each song's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from headroom.audio.wave import Audio
from headroom.device import upload_tensor
from headroom.diffusion import corrections, guidance, samplers
from headroom.diffusion.noise import NoiseStream, draw_noise, official
from headroom.diffusion.schedule import Schedule
from headroom.memory.footprint import DECODE, DENOISE
from headroom.models.acestep.cost.footprint import song_groups
from headroom.models.acestep.networks.codes import CodesNetwork, hints
from headroom.models.acestep.networks.component_names import (
    CODES,
    CONDITION,
    CONDITIONER,
    DIT,
    SCHEDULE,
    TEXT_ENCODER,
    TIME,
    VAE_DECODER,
    VAE_ENCODER,
)
from headroom.models.acestep.networks.dit import CrossCache, DiT, Layout, Modulation, TimePath
from headroom.models.acestep.networks.encoders import Conditioner, module_dtype
from headroom.models.acestep.rendering.assets import Assets
from headroom.models.acestep.rendering.conditions import Conditions, encode_conditions
from headroom.models.acestep.rendering.decode import decode
from headroom.models.acestep.rendering.source_latents import (
    Material,
    assemble,
    encode_sounds,
    load_sounds,
)
from headroom.models.acestep.requests.tasks import SourceChannels
from headroom.models.acestep.song.song import SamplerSettings, Song
from headroom.nn.oobleck import Decoder, Encoder
from headroom.nn.qwen3 import Qwen3
from headroom.runtime.run import Run, Step
from headroom.weights.silence import silence_frames


def render(songs: Sequence[Song], run: Run, assets: Assets) -> tuple[Audio, ...]:
    """The audio of each song. All songs have equal `sampling`; lengths may differ.

    Keeps `noise` and `latents` [B, T, 64] on the run, and what the latents were made from:
    `context` [B, T, 128], source before mask; `source` [B, T, 64], the recording's own latents
    (silence without one); and `condition` with `condition_mask`, see `Conditions.per_song`.
    """
    material = source_material(songs, run, assets)
    latents = _latents(songs, run, assets, material)
    run.keep("latents", latents)
    return run.stage(
        DECODE,
        lambda step, parts: decode(
            songs, latents, material.sounds, step, parts.of(VAE_DECODER, Decoder)
        ),
    )


def _latents(songs: Sequence[Song], run: Run, assets: Assets, material: Material) -> Tensor:
    """Conditions, schedule, denoising; their tensors on the device are freed when this returns."""
    conditions = encode_words(songs, run, assets, material)
    rows, mask = conditions.per_song()
    run.keep("condition", rows)
    run.keep("condition_mask", mask)
    run.keep("context", torch.cat((material.channels, material.mask), dim=-1))
    run.keep("source", material.silence if material.sources is None else material.sources)
    times = run.stage(
        SCHEDULE, lambda step, parts: parts.of(TIME, TimePath)(songs[0].sampling.times)
    )
    return run.stage(
        DENOISE,
        lambda step, parts: _denoise(
            songs, run, step, parts.of(DIT, DiT), times, conditions, material
        ),
    )


def encode_words(songs: Sequence[Song], run: Run, assets: Assets, material: Material) -> Conditions:
    """The conditions: captions, lyrics and timbre, encoded."""
    return run.stage(
        CONDITION,
        lambda step, parts: encode_conditions(
            songs,
            material.references,
            silence_frames(assets.silence, assets.config.timbre_frames)[0],
            parts.of(TEXT_ENCODER, Qwen3),
            parts.of(CONDITIONER, Conditioner),
            assets.tokenizer,
            step.device,
        ),
    )


# --- material ----------------------------------------------------------------------------


def source_material(songs: Sequence[Song], run: Run, assets: Assets) -> Material:
    """Source and mask channels of every song, and its timbre references, as latents."""
    sounds = load_sounds(songs)
    encoded = None
    if sounds.any:
        encoded = run.stage(
            "encode",
            lambda step, parts: encode_sounds(
                songs, sounds, assets.silence, parts.of(VAE_ENCODER, Encoder), step
            ),
        )
    sources: list[Tensor | None] = [None] * len(songs)
    if encoded is not None:
        sources = list(encoded.sources)
    through_codes: dict[int, Tensor] = {}
    if any(song.channels is SourceChannels.HINTS for song in songs):
        through_codes = run.stage(
            "codes",
            lambda step, parts: {
                i: _hints(
                    song, sources[i], parts.of(CODES, CodesNetwork), assets.silence, step.device
                )
                for i, song in enumerate(songs)
                if song.channels is SourceChannels.HINTS
            },
        )
    references = encoded.references if encoded is not None else ((),) * len(songs)
    return assemble(songs, sounds, sources, through_codes, references, assets.silence)


def _hints(
    song: Song, source: Tensor | None, codes: CodesNetwork, silence: Tensor, device: torch.device
) -> Tensor:
    """Source channels [T, 64] that carry only what survives the 5 Hz codes."""
    dtype = module_dtype(codes)
    if song.codes:
        index = torch.tensor([song.codes], device=device)
    else:
        if source is None:
            raise ValueError("neither codes nor a source to make them from")
        index = codes.tokenizer(source.unsqueeze(0).to(device, dtype), silence)
    latents = hints(index, codes.tokenizer.quantizer, codes.detokenizer, song.frames, silence)
    return latents[0].float().cpu()


# --- denoise -----------------------------------------------------------------------------


def _denoise(
    songs: Sequence[Song],
    run: Run,
    step: Step,
    dit: DiT,
    times: tuple[Tensor, Tensor],
    conditions: Conditions,
    material: Material,
) -> Tensor:
    """Noise to latents [B, T, 64], fp32 on the host; the batch is divided into `step.pieces`
    groups.
    """
    noise = starting_noise(songs, dit)
    run.keep("noise", noise)
    # Stages may run on different devices, and their results stay there.
    conditions = conditions.to(step.device)
    times = times[0].to(step.device), times[1].to(step.device)
    longest, latents = noise.shape[1], []
    cuts = song_groups(len(songs), step.pieces)
    for number, cut in enumerate(cuts):
        batch = songs[cut.start : cut.stop]
        frames = max(song.frames for song in batch)
        part = _denoise_group(
            batch,
            step,
            dit,
            times,
            conditions.of(cut),
            material.of(cut, frames),
            noise[cut.start : cut.stop, :frames],
            (number, len(cuts)),
        )
        latents.append(F.pad(part, (0, 0, 0, longest - frames)))
    return torch.cat(latents)


def _denoise_group(
    songs: Sequence[Song],
    step: Step,
    dit: DiT,
    times: tuple[Tensor, Tensor],
    conditions: Conditions,
    material: Material,
    noise: Tensor,
    place: tuple[int, int],
) -> Tensor:
    """Denoise songs together; they are group `place[0]` of `place[1]`."""
    sampling, device = songs[0].sampling, step.device
    frames = [song.frames for song in songs]
    schedule = Schedule(sampling.times)
    before, total = place[0] * schedule.steps, place[1] * schedule.steps
    layout = dit.layout(frames, conditions.shared)
    modulation = dit.modulation(*times)
    source = None if material.sources is None else material.sources.to(device)
    x = noise.to(device)
    if sampling.start_from_source:
        if source is None:
            raise ValueError("a start from the source without a source")
        x = samplers.renoise(source, x, schedule.times[0])
    mask = material.mask.to(device)
    first = Branch(
        dit,
        dit.condition(*conditions.first, conditions.null, away=conditions.away),
        dit.context(material.channels.to(device), mask, layout),
        modulation,
        layout,
    )
    second = first
    if conditions.second is not None:
        second = Branch(
            dit,
            dit.condition(*conditions.second, conditions.null, away=conditions.away),
            dit.context(material.silence.to(device), mask, layout),
            modulation,
            layout,
        )
    correct = _corrections(songs, schedule, x if source is None else source, noise.to(device))
    latents = integrate(
        sampling,
        schedule,
        first,
        second,
        x,
        correct=correct,
        fresh=lambda k: upload_tensor(
            draw_noise([song.seed for song in songs], frames, x.shape[-1], NoiseStream.SDE, k),
            device,
        ),
        on_step=lambda k: step.progress(before + k, total),
    )
    step.progress(before + schedule.steps, total)
    repainting = sampling.repainting
    if repainting is not None and repainting.ramp_frames and source is not None:
        soft = corrections.soft_mask(
            _regions(songs), frames, x.shape[1], repainting.ramp_frames, device
        )
        latents = corrections.blend(latents, source, soft)
    return latents.cpu()


def starting_noise(songs: Sequence[Song], dit: DiT) -> Tensor:
    """The initial noise, [B, T, 64] fp32 on the host, with a retake's second noise mixed in."""
    frames, channels = [song.frames for song in songs], dit.config.latent_channels
    seeds = [song.seed for song in songs]
    if songs[0].sampling.noise == "official":
        noise = torch.zeros(len(songs), max(frames), channels)
        for row, song in zip(noise, songs, strict=True):
            row[: song.frames] = official(song.seed, song.frames, channels, dit.device, dit.dtype)[
                0
            ].cpu()
    else:
        noise = draw_noise(seeds, frames, channels)
    for row, song in zip(noise, songs, strict=True):
        if song.retake_seed is not None:
            again = draw_noise([song.retake_seed], [song.frames], channels, NoiseStream.RETAKE)[0]
            row[: song.frames] = corrections.retake(row[: song.frames], again, song.retake_variance)
    return noise


@dataclass(frozen=True, slots=True)
class Branch:
    """The velocity under one condition and context; guidance calls `single` and `pair`."""

    dit: DiT
    cross: CrossCache
    context: Tensor
    modulation: Modulation
    layout: Layout

    def single(self, x: Tensor, k: int) -> Tensor:
        v: Tensor = self.dit(x, self.context, self.modulation.at(k), self.cross, self.layout)
        return v

    def pair(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        v: Tensor = self.dit(
            x, self.context, self.modulation.at(k), self.cross, self.layout, guided=True
        )
        return v[0], v[1]


class Conditioned(Protocol):
    """What the sampler needs of a model: its velocity with a condition, and both with and without
    one.
    """

    def single(self, x: Tensor, k: int) -> Tensor: ...

    def pair(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]: ...


def integrate(
    sampling: SamplerSettings,
    schedule: Schedule,
    first: Conditioned,
    second: Conditioned,
    x: Tensor,
    *,
    correct: Sequence[samplers.Correction],
    fresh: Callable[[int], Tensor],
    on_step: samplers.OnStep | None = None,
) -> Tensor:
    """Run the sampler that `sampling` names from x; `second` takes over at `sampling.switch`."""

    def velocity(rule: guidance.GuidanceRule, switch: int) -> samplers.Velocity:
        branches = [
            guidance.guide(b.pair, b.single, rule, sampling.guidance, schedule, sampling.guided)
            for b in (first, second)
        ]
        return samplers.switched(branches[0], branches[1], switch)

    rule = guidance.guidance_rule(sampling.guidance_variant, x)
    v = velocity(rule, sampling.switch)
    steady = samplers.Steady(sampling.norm_clamp, sampling.ema)
    if sampling.method == "sde":
        levels = samplers.turbo_levels if sampling.turbo else samplers.base_levels
        return samplers.sde(
            v, x, schedule, fresh=fresh, levels=levels(schedule), steady=steady,
            correct=correct, on_step=on_step,
        )  # fmt: skip
    if sampling.solver == "heun":
        # Heun evaluates the end of step k at index k + 1, so its switch comes one index later.
        ahead = velocity(guidance.look_ahead_rule(rule), sampling.switch + 1)
        return samplers.heun(
            v, x, schedule, look_ahead=ahead, last_too=not sampling.turbo, steady=steady,
            correct=correct, on_step=on_step,
        )  # fmt: skip
    return samplers.euler(v, x, schedule, steady=steady, correct=correct, on_step=on_step)


def _corrections(
    songs: Sequence[Song], schedule: Schedule, source: Tensor, noise: Tensor
) -> list[samplers.Correction]:
    sampling, frames = songs[0].sampling, [song.frames for song in songs]
    steps: list[samplers.Correction] = []
    wavelet = sampling.wavelet
    if wavelet is not None:
        ragged, mode = len(set(frames)) > 1, cast("corrections.DcwMode", wavelet.mode)
        valid = corrections.frame_mask(frames, max(frames), source.device) if ragged else None
        scales = wavelet.scale, wavelet.high_scale
        steps.append(corrections.dcw(schedule, mode, *scales, valid, wavelet.name))
    repainting = sampling.repainting
    if repainting is not None and repainting.injected_share > 0:
        region = corrections.soft_mask(_regions(songs), frames, max(frames), 0, source.device)
        levels = schedule.times[1:]
        if sampling.method == "sde" and not sampling.turbo:
            levels = samplers.base_levels(schedule)
        share, last_too = repainting.injected_share, not sampling.turbo
        steps.append(corrections.injection(source, noise, region, share, levels, last_too))
    return steps


def _regions(songs: Sequence[Song]) -> list[corrections.FrameRange]:
    return [
        (song.region.start, song.region.stop) if song.region else (0, song.frames) for song in songs
    ]
