"""Levels of audio: peak, normalisation, protection from clipping, and fades."""

from __future__ import annotations

import torch

from headroom.audio.wave import SILENCE, Audio


def peak(audio: Audio) -> float:
    """The largest magnitude over all channels and frames; 0 for audio without samples."""
    return float(audio.samples.abs().max()) if audio.samples.numel() else 0.0


def anticlip(audio: Audio) -> Audio:
    """The audio divided by its peak if that is above 1, else unchanged.

    Source: ACE-Step 1.5, decoding.
    """
    highest = peak(audio)
    return Audio(audio.samples / highest, audio.rate) if highest > 1 else audio


def normalise(audio: Audio, db: float) -> Audio:
    """The audio scaled to a peak of `db` decibels relative to full scale (peak 10^(db / 20)).

    Audio with a peak below 1e-6 is unchanged. Source: ACE-Step 1.5, output normalisation.
    """
    highest = peak(audio)
    if highest < SILENCE:
        return audio
    return Audio(audio.samples * (10 ** (db / 20) / highest), audio.rate)


def fade(audio: Audio, fade_in: float, fade_out: float) -> Audio:
    """Linear fades from and to silence, in seconds, each at most as long as the audio.

    The first sample of a fade-in and the last of a fade-out are 0.
    """
    if not (fade_in >= 0 and fade_out >= 0):
        raise ValueError(f"fades last 0 s or more, not {fade_in} s and {fade_out} s")
    first, last = (min(round(s * audio.rate), audio.frames) for s in (fade_in, fade_out))
    if not (first or last):
        return audio
    samples = audio.samples.clone()
    if first:
        samples[:, :first] *= torch.arange(first) / first
    if last:
        samples[:, -last:] *= torch.arange(last - 1, -1, -1) / last
    return Audio(samples, audio.rate)
