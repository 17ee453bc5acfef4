"""A song's starting material: its recordings read and encoded, its source channels and mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from headroom.audio.files import read_stereo
from headroom.audio.reference import reference_cuts
from headroom.audio.wave import Audio, silent
from headroom.diffusion.noise import NoiseStream, draw_noise
from headroom.errors import InvalidSource
from headroom.models.acestep.cost.footprint import ENCODE_TILE
from headroom.models.acestep.networks.config import HOP, SAMPLE_RATE
from headroom.models.acestep.requests.regions import MOST_SECONDS
from headroom.models.acestep.requests.tasks import TASKS, SourceChannels
from headroom.models.acestep.song.song import Song, Source
from headroom.nn.oobleck import Encoder
from headroom.nn.oobleck_tiles import encode_tiled
from headroom.runtime.run import Step
from headroom.weights.silence import silence_frames

SLACK = HOP  # samples; a decoder may return a few less than the header states


@dataclass(frozen=True, slots=True)
class Sounds:
    """A batch's recordings, stereo at 48 kHz within ±1; sources are padded and cut to length."""

    sources: Mapping[Source, Audio]
    references: Mapping[str, Audio]

    @property
    def any(self) -> bool:
        return bool(self.references) or any(not silent(a) for a in self.sources.values())


@dataclass(frozen=True, slots=True)
class EncodedRecordings:
    """Latents of every song's source [T, 64] (None: silent or no source) and of its references."""

    sources: tuple[Tensor | None, ...]
    references: tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True, slots=True)
class Material:
    """Latents [B, T, 64], fp32 on the host, zero beyond each song's frames.

    channels  content of the source channels; silence: their content after the cover switch
    mask      1 where the model generates, 0 where it keeps
    sources   the source itself, for injection, blending and a start from it; None without one
    """

    channels: Tensor
    mask: Tensor
    silence: Tensor
    sources: Tensor | None
    references: tuple[tuple[Tensor, ...], ...]
    sounds: Sounds

    def of(self, songs: range, frames: int) -> Material:
        """The part for some neighbouring songs of the batch, the longest of which has `frames`."""
        rows = slice(songs.start, songs.stop)
        return Material(
            self.channels[rows, :frames],
            self.mask[rows, :frames],
            self.silence[rows, :frames],
            None if self.sources is None else self.sources[rows, :frames],
            self.references[rows],
            self.sounds,
        )


def load_sounds(songs: Sequence[Song]) -> Sounds:
    """Read every recording once. Raises InvalidSource, also for silence where sound is needed."""
    sources: dict[Source, Audio] = {}
    references: dict[str, Audio] = {}
    for song in songs:
        if song.source is not None and song.source not in sources:
            audio = _padded(_source(song.source), song.source)
            if TASKS[song.task].needs_sound and silent(audio):
                raise InvalidSource(
                    "source_audio", song.source.path, "is silent", f"sound to {song.task}"
                )
            sources[song.source] = audio
        for path in song.references:
            if path not in references:
                audio = read_stereo(path, "reference_audio", SAMPLE_RATE, MOST_SECONDS)
                if silent(audio):
                    raise InvalidSource("reference_audio", path, "is silent", "sound to imitate")
                references[path] = audio
    return Sounds(sources, references)


def _source(source: Source) -> Audio:
    """The part of the file that is used. Raises InvalidSource if it is now shorter than it was."""
    seconds = source.samples / SAMPLE_RATE
    audio = read_stereo(source.path, "source_audio", SAMPLE_RATE, seconds)
    if audio.frames < source.samples - SLACK:
        why = f"now holds {audio.seconds:.3f} s of sound, of {seconds:.3f} s that it held before"
        raise InvalidSource("source_audio", source.path, why, "a file that stays as it is")
    return audio


def _padded(audio: Audio, source: Source) -> Audio:
    """Exactly `source.total` samples: the file's own between the silent padding of outpainting."""
    samples = audio.samples[:, : source.samples]
    missing = source.samples - samples.shape[1]
    return Audio(F.pad(samples, (source.before, source.after + missing)), audio.rate)


def encode_sounds(
    songs: Sequence[Song], sounds: Sounds, silence: Tensor, encoder: Encoder, step: Step
) -> EncodedRecordings:
    """Encode every recording once; each song samples its latents with noise from its own seed."""
    means: dict[Source, tuple[Tensor, Tensor]] = {}
    sources: list[Tensor | None] = []
    for song in songs:
        key = song.source
        if key is None or silent(sounds.sources[key]):
            sources.append(None)
            continue
        if key not in means:
            means[key] = _posterior(sounds.sources[key], encoder, step)
        latents = _sample(*means[key], song.seed, NoiseStream.ENCODE, 0)
        missing = song.frames - latents.shape[0]
        sources.append(torch.cat((latents, silence_frames(silence, max(missing, 0))[0])))
    references = []
    for song in songs:
        rows = []
        for number, path in enumerate(song.references):
            cut = reference_cuts(sounds.references[path], song.seed)
            posterior = _posterior(cut, encoder, step)
            rows.append(_sample(*posterior, song.seed, NoiseStream.REFERENCE, number))
        references.append(tuple(rows))
    return EncodedRecordings(tuple(sources), tuple(references))


def _posterior(audio: Audio, encoder: Encoder, step: Step) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [T, 64] of the latents, fp32 on the host."""
    step.check()
    # The recording stays on the host; one tile at a time is moved.
    mean, std = encode_tiled(encoder, audio.samples.unsqueeze(0), ENCODE_TILE)
    return mean[0].t().contiguous(), std[0].t().contiguous()


def _sample(mean: Tensor, std: Tensor, seed: int, stream: NoiseStream, step: int) -> Tensor:
    noise = draw_noise([seed], [mean.shape[0]], mean.shape[1], stream, step)[0]
    return mean + std * noise


def assemble(
    songs: Sequence[Song],
    sounds: Sounds,
    sources: Sequence[Tensor | None],
    through_codes: Mapping[int, Tensor],
    references: tuple[tuple[Tensor, ...], ...],
    silence: Tensor,
) -> Material:
    """Source channels and mask of every song, side by side. A silent source is silence."""
    longest, width = max(song.frames for song in songs), silence.shape[-1]
    channels, mask, quiet, originals = (torch.zeros(len(songs), longest, width) for _ in range(4))
    for i, song in enumerate(songs):
        span = slice(0, song.frames)
        quiet[i, span] = silence_frames(silence, song.frames)[0]
        recording = sources[i]
        originals[i, span] = quiet[i, span] if recording is None else recording
        mask[i, span] = 1.0 if song.mask_everywhere is None else song.mask_everywhere
        if song.channels is SourceChannels.SILENCE:
            channels[i] = quiet[i]
        elif song.channels is SourceChannels.HINTS:
            channels[i, span] = through_codes[i]
        else:
            channels[i] = originals[i]
        if song.region is not None:
            inside = slice(song.region.start, song.region.stop)
            if song.channels is SourceChannels.OUTSIDE:
                channels[i, inside] = quiet[i, inside]
            if song.mask_everywhere is None:
                mask[i] = 0.0
                mask[i, inside] = 1.0
    has_source = any(song.source is not None for song in songs)
    return Material(channels, mask, quiet, originals if has_source else None, references, sounds)
