"""Decodes latents to the finished audio of each song, in tiles that join exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headroom.audio.wave import Audio
from headroom.models.acestep.networks.config import HOP, SAMPLE_RATE
from headroom.models.acestep.networks.encoders import module_dtype
from headroom.models.acestep.rendering import postprocess
from headroom.models.acestep.rendering.source_latents import Sounds
from headroom.models.acestep.song.song import Song
from headroom.nn.oobleck import Decoder
from headroom.nn.oobleck_tiles import decode_tiled
from headroom.runtime.run import Step


def decode(
    songs: Sequence[Song], latents: Tensor, sounds: Sounds, step: Step, decoder: Decoder
) -> tuple[Audio, ...]:
    """Latents [B, T, 64] to finished audio, one song at a time, in tiles of `step.tile` frames."""
    tile = step.tile or max(song.frames for song in songs)
    total = sum(song.frames for song in songs)
    audios, before = [], 0
    for index, (song, row) in enumerate(zip(songs, latents, strict=True)):
        z = row[: song.frames] * song.finish.latent_rescale + song.finish.latent_shift
        postprocess.check_latents(z, song)
        progress = _Progress(step, index, song, before, total)
        audios.append(
            postprocess.finished(song, _samples(z, tile, step, decoder, progress), sounds)
        )
        before += song.frames
    return tuple(audios)


def _samples(z: Tensor, tile: int, step: Step, decoder: Decoder, progress: _Progress) -> Tensor:
    """Latents [T, 64] to samples [2, T · 1920] on the host."""
    z = z.t().unsqueeze(0).to(step.device, module_dtype(decoder))
    out = torch.empty(
        1,
        decoder.config.audio_channels,
        z.shape[-1] * decoder.config.hop,
        device="cpu" if step.leaves else step.device,
    )
    decode_tiled(decoder, z, tile, out=out, progress=lambda count, _: progress.reach(count, out[0]))
    return out[0].cpu()


@dataclass(slots=True)
class _Progress:
    """Reports the frames of a song as they are decoded, and their samples to an early listener.

    before  frames of the earlier songs; `total`: of all songs
    """

    step: Step
    index: int
    song: Song
    before: int
    total: int
    reached: int = 0

    def reach(self, frames: int, samples: Tensor) -> None:
        """The first `frames` frames of `samples` [2, T · 1920] are final."""
        start, stop = self.reached * HOP, min(frames, self.song.kept) * HOP
        self.step.audio(self.index, start, samples[:, start:stop], SAMPLE_RATE)
        self.reached = frames
        self.step.progress(self.before + frames, self.total)
