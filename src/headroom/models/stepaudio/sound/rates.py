"""Resampling by a windowed sinc, exactly as the networks of this family were trained with.

The kernel has six zero crossings on each side, a Hann window and its corner at 0.99 of the lower
Nyquist frequency. Audio codes depend on it: another resampler gives other codes.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

CROSSINGS = 6
ROLLOFF = 0.99


def resampled(samples: Tensor, old: int, new: int) -> Tensor:
    """Samples [n] at `old` Hz → [⌈n · new / old⌉] at `new` Hz, fp32.

    y[i] = Σₘ x[m] · h(i / new − m / old), h(t) = b/old · sinc(b·t) · cos²(π·b·t / 12) for
    |b·t| ≤ 6, with b = 0.99 · min(old, new).
    """
    if old == new:
        return samples
    common = math.gcd(old, new)
    step, phases = old // common, new // common
    kernel, width = _kernel(step, phases)
    padded = F.pad(samples.float(), (width, width + step))
    rows = F.conv1d(padded[None, None], kernel, stride=step)[0]
    return rows.t().flatten()[: -(-samples.shape[0] * phases // step)]


@lru_cache(maxsize=8)
def _kernel(step: int, phases: int) -> tuple[Tensor, int]:
    """The filters [phases, 1, taps], and how far they reach back; times are in old samples."""
    corner = ROLLOFF * min(step, phases)  # in units of the greatest common rate
    width = math.ceil(CROSSINGS * step / corner)
    taps = torch.arange(-width, width + step, dtype=torch.float64) / step
    starts = torch.arange(phases, dtype=torch.float64)[:, None] / phases
    t = ((taps - starts) * corner).clamp_(-CROSSINGS, CROSSINGS)
    window = torch.cos(t * (math.pi / CROSSINGS / 2)).square_()
    kernel = torch.sinc(t) * window * (corner / step)
    return kernel.float()[:, None], width
