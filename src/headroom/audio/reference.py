"""The excerpt of a reference recording for the timbre encoder: three cuts, 30 s in total."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch

from headroom.audio.resample import resample
from headroom.audio.wave import Audio, clamped, silent, stereo
from headroom.errors import InvalidSource

RATE = 48_000
CUTS = 3
CUT = 10 * RATE


def reference_cuts(
    audio: Audio, seed: int, path: str | Path = "the recording", field: str = "reference_audio"
) -> Audio:
    """Exactly 30 s, stereo, 48 kHz, within ±1: a 10 s cut from each third of the recording.

    A recording shorter than 30 s is first repeated until it is long enough. The position of each
    cut in its third is determined by `seed` (0 … 2^64 − 1). Raises InvalidSource for silence, with
    `path` and `field`. Source: ACE-Step 1.5, reference audio; the offsets are our own.
    """
    samples = clamped(resample(stereo(audio), RATE)).samples
    if silent(Audio(samples, RATE)):
        raise InvalidSource(field, path, "is silent", "a recording with sound")
    samples = samples.repeat(1, max(1, math.ceil(CUTS * CUT / samples.shape[1])))
    third = samples.shape[1] // CUTS
    starts = [i * third + offset for i, offset in enumerate(_offsets(seed, third - CUT))]
    return Audio(torch.cat([samples[:, s : s + CUT] for s in starts], dim=1), RATE)


def _offsets(seed: int, room: int) -> list[int]:
    """Three numbers from 0 to `room` (inclusive), uniformly distributed over the seeds.

    They come from raw Philox bits, whose stream NumPy guarantees, under a key that has no other
    use.
    """
    digest = hashlib.blake2b(b"reference cuts", digest_size=8, key=seed.to_bytes(8, "little"))
    bits = np.random.Philox(key=int.from_bytes(digest.digest(), "little")).random_raw(CUTS)
    return [int(b) * (room + 1) >> 64 for b in bits]
