"""Processing after the decoder: level, the splice around a region, fades."""

from __future__ import annotations

import torch
from torch import Tensor

from headroom.audio.level import anticlip, fade, normalise
from headroom.audio.seams import splice
from headroom.audio.wave import Audio
from headroom.errors import RenderFailed
from headroom.models.acestep.networks.config import HOP, SAMPLE_RATE
from headroom.models.acestep.rendering.source_latents import Sounds
from headroom.models.acestep.song.song import Region, Song, Source


def check_latents(latents: Tensor, song: Song) -> None:
    """Raise RenderFailed for latents [T, 64] that hold no sound."""
    bad = int((~torch.isfinite(latents)).sum())
    if bad:
        raise RenderFailed(
            f"seed {song.seed}: {bad} of {latents.numel()} latent values are not numbers; "
            "the weights or the precision do not suit each other"
        )
    if not bool(latents.any()):
        raise RenderFailed(f"seed {song.seed}: all {latents.numel()} latent values are zero")


def finished(song: Song, samples: Tensor, sounds: Sounds) -> Audio:
    """Decoded samples [2, ≥ kept · 1920] → the song's audio.

    Clipping of the generated part is prevented before it is joined to the source, so that samples
    taken from the source stay unchanged.
    """
    audio = anticlip(Audio(samples[:, : song.kept * HOP], SAMPLE_RATE))
    repainting = song.sampling.repainting
    if repainting is not None and repainting.fade_seconds is not None and song.source is not None:
        source = sounds.sources[song.source]
        audio = _spliced(song.region, song.source, audio, source, repainting.fade_seconds)
    audio = fade(audio, song.finish.fade_in, song.finish.fade_out)
    if song.finish.normalise_db is not None:
        audio = normalise(audio, song.finish.normalise_db)
    return audio


def _spliced(
    region: Region | None, placed: Source, generated: Audio, source: Audio, fade_seconds: float
) -> Audio:
    """The source with its region from `generated`. Samples past the last whole frame are the
    source's, unless the region reaches the end."""
    if region is None:
        raise ValueError("a splice without a region")
    generated_end = generated.samples.shape[1]
    if region.stop_sample > generated_end:
        source = Audio(source.samples[:, :generated_end], source.rate)
    else:
        tail = source.samples[:, generated_end:]
        generated = Audio(torch.cat((generated.samples, tail), dim=1), generated.rate)
    end = generated.samples.shape[1]
    stop = min(region.stop_sample, end)
    # The padding of outpainting is silence, which must not be faded from.
    recording = (placed.before, min(placed.before + placed.samples, end))
    return splice(generated, source, region.start_sample, stop, fade_seconds, recording)
