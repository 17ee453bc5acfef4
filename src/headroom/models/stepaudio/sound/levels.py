"""Levels and silence at the ends of a recording, before it is read as codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

RATE = 16_000
LOUDEST = 0.6  # of a recording as a whole
FULL = 0.999  # of what becomes codes
QUIETEST = 0.01  # a peak below this is not raised to full level
TOP_DB = 20.0  # below the loudest frame: silence
FRAME, HOP = 512, 128  # samples, of the levels that silence is found by
UNIT = 240  # samples that a trimmed recording is a multiple of, without what is kept around it
BEFORE, AROUND = 0.05, 0.27  # seconds kept before the sound, and around it in all
_FLOOR = 1e-10  # of a power


def capped(samples: Tensor) -> Tensor:
    """Samples with a peak of at most 0.6."""
    peak = float(samples.abs().max()) if samples.numel() else 0.0
    return samples * (LOUDEST / peak) if peak > LOUDEST else samples


def normalised(samples: Tensor) -> Tensor:
    """x / max(peak, 0.01) · 0.999."""
    peak = float(samples.abs().max()) if samples.numel() else 0.0
    return samples / max(peak, QUIETEST) * FULL


def trimmed(samples: Tensor) -> Tensor:
    """Samples [n] at 16 kHz without the silence at their ends; zeros stand in for what a recording
    that begins or ends at once lacks around it."""
    start, stop = sounding(samples)
    kept = int(BEFORE * RATE)
    first = start - kept
    moved = samples[first:] if first > 0 else F.pad(samples, (-first, 0))
    length = int(math.ceil((stop - start) / UNIT) * UNIT + AROUND * RATE)
    return F.pad(moved, (0, max(0, length - moved.shape[0])))[:length]


def sounding(samples: Tensor) -> tuple[int, int]:
    """The first sample of the sound, and the one behind it: frames no more than 20 dB below the
    loudest, by their root mean square; frames are centred, with zeros around the recording."""
    if not samples.numel():
        return 0, 0
    padded = F.pad(samples.float(), (FRAME // 2, FRAME // 2))
    power = padded.unfold(0, FRAME, HOP).square().mean(-1).clamp_(min=_FLOOR)
    loud = (10 * torch.log10(power / power.max()) > -TOP_DB).nonzero().flatten()
    return int(loud[0]) * HOP, min(samples.shape[0], (int(loud[-1]) + 1) * HOP)
