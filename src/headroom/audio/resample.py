"""Resampling of audio with soxr at its very high quality setting."""

from __future__ import annotations

import numpy as np
import soxr
import torch

from headroom.audio.wave import Audio


def resampled_frames(frames: int, old: int, new: int) -> int:
    """Frames after resampling: `frames · new / old`, rounded half to even."""
    return round(frames * new / old)


def resample(audio: Audio, rate: int) -> Audio:
    """The same sound at `rate` Hz, of exactly `resampled_frames` frames.

    The phase is linear. Content above the lower of the two Nyquist frequencies is below −80 dB; up
    to nine tenths of it the level changes by less than 0.002 dB. Equal input gives equal bytes.
    """
    if rate == audio.rate:
        return audio
    if rate < 1:
        raise ValueError(f"a rate is above 0 Hz, not {rate}")
    length = resampled_frames(audio.frames, audio.rate, rate)
    out = np.zeros((audio.channels, length), dtype=np.float32)
    for row, channel in zip(out, audio.samples.numpy(), strict=True):
        resampled = soxr.resample(np.ascontiguousarray(channel), audio.rate, rate, quality="VHQ")
        row[: len(resampled)] = resampled[:length]
    return Audio(torch.from_numpy(out), rate)
