"""Reproducible noise that depends on a song's seed only, not on the batch or the device.

Every song has its own streams, one for each use, all keyed by its seed. No value depends on the
batch, the device, the plan, or the length of the song beyond the frame that the value belongs to.

The bits come from the counter-based Philox4x64-10 (Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", 2011), whose stream NumPy guarantees. NumPy gives no such guarantee for its normal
variates, and torch gives none at all, so the Box-Muller transform is done here. It uses only
operations whose rounding IEEE 754 defines (+, −, ×, ÷, √), with polynomials for logarithm and sine:
the values are identical, bit for bit, on every processor and operating system.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headroom.errors import InvalidRequest

Doubles = npt.NDArray[np.float64]

_SEEDS = 1 << 64
_LOG_TERMS = tuple(2.0 / n for n in range(1, 24, 2))
_SIN_TERMS = tuple((-1.0) ** i / math.factorial(2 * i + 1) for i in range(10))
_COS_TERMS = tuple((-1.0) ** i / math.factorial(2 * i) for i in range(10))
_LN_2 = 0.6931471805599453
_HALF_PI = 1.5707963267948966


class NoiseStream(IntEnum):
    """What a stream is for. The numbers are part of the key: never renumber."""

    NOISE = 0  # the start of a run
    SDE = 1  # fresh noise of step k
    ENCODE = 2  # sampling the VAE's posterior of the source
    REFERENCE = 3  # the same for the timbre reference
    RETAKE = 4  # the second noise of a retake (keyed by the retake seed)
    SHEET = 5  # uniforms of the language model: text
    CODES = 6  # … and audio codes
    SOURCE = 7  # the noise in the source of a vocoder


def draw_noise(
    seeds: Sequence[int],
    lengths: Sequence[int],
    channels: int,
    stream: NoiseStream = NoiseStream.NOISE,
    step: int = 0,
) -> Tensor:
    """Standard normal noise [B, T, C], fp32 on the host, T = max(lengths), zero past each length.

    `step` distinguishes the streams of one use (SDE: the step's index). Values are drawn frame by
    frame, so a longer song begins with the values of a shorter one. Raises InvalidRequest for a
    seed outside 0 … 2^64 − 1.
    """
    out = torch.zeros(len(seeds), max(lengths), channels)
    for row, seed, length in zip(out, seeds, lengths, strict=True):
        values = _normal(_key(seed, stream, step), length * channels)
        row[:length] = torch.from_numpy(values).view(length, channels)
    return out


def uniforms(seeds: Sequence[int], count: int, stream: NoiseStream, step: int = 0) -> Tensor:
    """Uniform values [B, count] in [0, 1), fp32 on the host; a shorter row is a prefix of a longer.

    `step` distinguishes the streams of one use. Raises InvalidRequest as `draw_noise` does.
    """
    out = torch.empty(len(seeds), count)
    for row, seed in zip(out, seeds, strict=True):
        key = np.array(_key(seed, stream, step), dtype=np.uint64)
        bits = np.random.Philox(key=key).random_raw(count)
        # 24 bits, so that each value is exact in fp32 and none is rounded up to 1.
        row.copy_(torch.from_numpy((bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)))
    return out


def official(
    seed: int, frames: int, channels: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """The noise that the ACE-Step reference draws: [1, T, C], drawn in `dtype`, returned as fp32.

    It depends on the device, the dtype, and the implementation of torch's generator.
    """
    generator = torch.Generator(device=device).manual_seed(seed)
    noise = torch.randn(1, frames, channels, generator=generator, device=device, dtype=dtype)
    return noise.float()


def _key(seed: int, stream: NoiseStream, step: int) -> tuple[int, int]:
    if not 0 <= seed < _SEEDS:
        raise InvalidRequest("seed", seed, f"a whole number from 0 to {_SEEDS - 1}")
    if not 0 <= step < 1 << 32:
        raise ValueError(f"step {step} is outside 0 … 2^32 − 1")
    return seed, stream << 32 | step


def _normal(key: tuple[int, int], count: int) -> npt.NDArray[np.float32]:
    """`count` standard normal values; the first n are the same for any count >= n."""
    pairs = (count + 1) // 2
    bits = np.random.Philox(key=np.array(key, dtype=np.uint64)).random_raw(2 * pairs)
    unit = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # [0, 1), exact
    radius = np.sqrt(-2.0 * _log(1.0 - unit[0::2]))
    cos, sin = _turn(unit[1::2])
    values = np.empty(2 * pairs, dtype=np.float32)
    values[0::2] = radius * cos
    values[1::2] = radius * sin
    return values[:count]


def _log(u: Doubles) -> Doubles:
    """Natural logarithm on (0, 1]: u = m·2^e with m in [√½, √2), log m = 2·artanh((m−1)/(m+1))."""
    m, e = np.frexp(u)
    small = m < 0.7071067811865476
    m = np.where(small, 2.0 * m, m)
    s = (m - 1.0) / (m + 1.0)
    return s * _polynomial(s * s, _LOG_TERMS) + (e - small) * _LN_2


def _turn(u: Doubles) -> tuple[Doubles, Doubles]:
    """cos and sin of 2πu: exact reduction to the nearest quarter turn, then Taylor on ±π/4."""
    quarter = np.rint(4.0 * u)
    angle = (4.0 * u - quarter) * _HALF_PI
    square = angle * angle
    c, s = _polynomial(square, _COS_TERMS), angle * _polynomial(square, _SIN_TERMS)
    q = quarter.astype(np.int64) % 4
    return np.choose(q, (c, -s, -c, s)), np.choose(q, (s, c, -s, -c))


def _polynomial(x: Doubles, terms: Sequence[float]) -> Doubles:
    """Horner's rule, lowest power first in `terms`."""
    total = np.full_like(x, terms[-1])
    for term in reversed(terms[:-1]):
        total = total * x + term
    return total
