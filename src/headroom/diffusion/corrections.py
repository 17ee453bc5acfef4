"""Corrections of latents after a step or a run: repaint injection, wavelet correction, retake.

Source: the released ACE-Step 1.5 sampler; DCW, Yu et al. 2026 (arXiv:2604.16044), one
level of a discrete wavelet along time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from headroom.diffusion.samplers import Correction, renoise
from headroom.diffusion.schedule import Schedule
from headroom.diffusion.wavelets import HAAR, Filters, filters
from headroom.errors import InvalidRequest

FrameRange = tuple[int, int]
"""Frames [start, end) of one item that are made anew; the rest is kept."""

DcwMode = Literal["low", "high", "double", "pix"]


def frame_mask(lengths: Sequence[int], frames: int, device: torch.device | None = None) -> Tensor:
    """A mask of 1 on each item's own frames and 0 in its padding: fp32 [B, T, 1]."""
    return soft_mask([(0, n) for n in lengths], lengths, frames, 0, device)


def soft_mask(
    regions: Sequence[FrameRange],
    lengths: Sequence[int],
    frames: int,
    ramp: int,
    device: torch.device | None = None,
) -> Tensor:
    """A mask of 1 inside each region, linear ramps just outside it, 0 elsewhere: fp32 [B, T, 1].

    A ramp has `ramp` frames, or fewer if the item ends sooner, with the values i/(n + 1), which are
    neither 0 nor 1. An empty region gives zeros.
    """
    rows = [
        _ramped(region, length, frames, ramp)
        for region, length in zip(regions, lengths, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float32, device=device).unsqueeze(-1)


def injection(
    source: Tensor,
    noise: Tensor,
    region: Tensor,
    ratio: float,
    levels: Sequence[float],
    last_too: bool = True,
) -> Correction:
    """Reset the kept frames to the source, noised to the step's level, in the first steps of a run.

    It acts after each of the first round(ratio·N) steps.

    source, noise [B, T, C] (zero in the padding; noise is the run's starting noise), region
    [B, T, 1] (1 where new), levels: the noise level after each step, `schedule.times[1:]` or
    `base_levels(schedule)`. This correction comes after `dcw`. `last_too=False` skips the last
    step, as the turbo variants do, so that `blend` has two sides to blend.
    """
    last = min(round(ratio * len(levels)), len(levels) - (not last_too))
    free = region > 0

    def correct(k: int, before: Tensor, v: Tensor, after: Tensor) -> Tensor:
        if k >= last:
            return after
        return torch.where(free, after, renoise(source, noise, levels[k]))

    return correct


def blend(x: Tensor, source: Tensor, soft: Tensor) -> Tensor:
    """m·x + (1 − m)·source, after the last step; m from `soft_mask`, exact where m is 0 or 1."""
    return soft * x + (1 - soft) * source


def dcw(
    schedule: Schedule,
    mode: DcwMode,
    scale: float,
    high_scale: float,
    valid: Tensor | None = None,
    wavelet: str = HAAR,
) -> Correction:
    """Differential correction in the wavelet domain: push x's bands away from the clean estimate.

    With x̂ = x_before − t_k·v and d = x_after − x̂, the term added to x_after depends on the mode:
    low: t·scale·low(d); high: (1 − t)·scale·high(d); double: t·scale·low(d) +
    (1 − t)·high_scale·high(d); pix: scale·d, without a transform. `valid` is `frame_mask` of a
    ragged batch: a wavelet spreads an item's last frames into its padding, which must be zeroed
    again. `wavelet`: one of `WAVELETS`.

    Raises InvalidRequest for an unknown mode, or a wavelet that is unknown or not available.
    """
    gains = _gains(mode, scale, high_scale)
    taps = None if wavelet == HAAR or mode == "pix" else filters(wavelet)

    def correct(k: int, before: Tensor, v: Tensor, after: Tensor) -> Tensor:
        t = schedule.times[k]
        d = after - (before - t * v)
        if mode == "pix":
            return after + scale * d
        low, high = haar(d) if taps is None else analysed(d, taps)
        low, high = t * gains[0] * low, (1 - t) * gains[1] * high
        frames = d.shape[1]
        push = unhaar(low, high, frames) if taps is None else synthesised(low, high, taps, frames)
        return after + (push if valid is None else push * valid)

    return correct


def haar(x: Tensor) -> tuple[Tensor, Tensor]:
    """One orthonormal Haar level along time: [B, T, C] -> low, high [B, ceil(T/2), C].

    An odd T is padded with one zero frame.
    """
    if x.shape[1] % 2:
        x = torch.nn.functional.pad(x, (0, 0, 0, 1))
    first, second = x[:, 0::2], x[:, 1::2]
    return (first + second) * math.sqrt(0.5), (first - second) * math.sqrt(0.5)


def unhaar(low: Tensor, high: Tensor, frames: int) -> Tensor:
    """The inverse of `haar`, cut to `frames`."""
    pairs = torch.stack((low + high, low - high), dim=2) * math.sqrt(0.5)
    return pairs.flatten(1, 2)[:, :frames]


def analysed(x: Tensor, taps: Filters) -> tuple[Tensor, Tensor]:
    """One level of a wavelet along time: [B, T, C] -> low, high [B, (T + taps - 1) // 2, C].

    x is padded with zero frames at both ends.
    """
    frames, count = x.shape[1], (x.shape[1] + taps.taps - 1) // 2
    x = torch.nn.functional.pad(x, (0, 0, taps.taps - 2, 2 * count - frames))
    bands = []
    for weights in (taps.low, taps.high):
        band = x.new_zeros(x.shape[0], count, x.shape[2])
        for tap, weight in enumerate(weights):
            first = taps.taps - 1 - tap
            band.add_(x[:, first : first + 2 * count : 2], alpha=weight)
        bands.append(band)
    return bands[0], bands[1]


def synthesised(low: Tensor, high: Tensor, taps: Filters, frames: int) -> Tensor:
    """The inverse of `analysed`, cut to `frames`."""
    count = low.shape[1]
    out = low.new_zeros(low.shape[0], 2 * count + taps.taps, low.shape[2])
    for band, weights in ((low, taps.low_back), (high, taps.high_back)):
        for tap, weight in enumerate(weights):
            out[:, tap : tap + 2 * count : 2].add_(band, alpha=weight)
    return out[:, taps.taps - 2 : taps.taps - 2 + frames]


def retake(noise: Tensor, second: Tensor, variance: float) -> Tensor:
    """cos(πv/2)·noise + sin(πv/2)·second: v = 0 is the original take, v = 1 an independent one."""
    if not 0 <= variance <= 1:
        raise InvalidRequest("retake_variance", variance, "a number from 0 to 1")
    angle = math.pi * variance / 2
    return math.cos(angle) * noise + math.sin(angle) * second


def _gains(mode: DcwMode, scale: float, high_scale: float) -> tuple[float, float]:
    match mode:
        case "low":
            return scale, 0.0
        case "high":
            return 0.0, scale
        case "double" | "pix":
            return scale, high_scale
    raise InvalidRequest("dcw_mode", mode, "low, high, double, pix")


def _ramped(region: FrameRange, length: int, frames: int, ramp: int) -> list[float]:
    start, end = region
    if not 0 <= start <= end <= length <= frames:
        raise ValueError(f"region {region} does not lie in {length} of {frames} frames")
    row = [0.0] * frames
    row[start:end] = [1.0] * (end - start)
    if start == end:
        return row
    rise, fall = min(ramp, start), min(ramp, length - end)
    row[start - rise : start] = [i / (rise + 1) for i in range(1, rise + 1)]
    row[end : end + fall] = [i / (fall + 1) for i in range(fall, 0, -1)]
    return row
