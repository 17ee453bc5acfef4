from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from headroom.diffusion import noise
from headroom.diffusion.noise import NoiseStream, draw_noise
from headroom.errors import InvalidRequest

GOLDEN: dict[tuple[int, NoiseStream, int], list[float]] = {
    (0, NoiseStream.NOISE, 0): [
        0.00808869581669569,
        0.1521921306848526,
        -0.4468097388744354,
        -0.1914038062095642,
        -0.20389847457408905,
        1.1637271642684937,
        2.411020517349243,
        -0.21162183582782745,
    ],
    (42, NoiseStream.NOISE, 0): [
        0.6901114583015442,
        1.719170093536377,
        -1.5858830213546753,
        1.236830234527588,
        -0.8780588507652283,
        0.3836025893688202,
        0.608279824256897,
        0.25083106756210327,
    ],
    (2**64 - 1, NoiseStream.RETAKE, 0): [
        1.3165794610977173,
        -0.9658063054084778,
        -0.611786961555481,
        -0.17396166920661926,
        -0.10306266695261002,
        -1.8684967756271362,
        0.928435206413269,
        0.1458522379398346,
    ],
    (42, NoiseStream.SDE, 3): [
        0.011527949944138527,
        -0.8420681953430176,
        -1.6272870302200317,
        0.0008961103740148246,
        -1.5439039468765259,
        -0.9438185691833496,
        -0.6716199517250061,
        -0.8822673559188843,
    ],
}


@pytest.mark.parametrize(("seed", "stream", "step"), GOLDEN)
def test_golden_values(seed: int, stream: NoiseStream, step: int) -> None:
    """Exact: a recorded seed must give the same song in every later version, on every machine."""
    got = draw_noise([seed], [2], 4, stream, step)
    assert got.dtype == torch.float32
    assert got.flatten().tolist() == GOLDEN[seed, stream, step]


def test_values_are_standard_normal_and_independent() -> None:
    x = draw_noise([1], [6000], 64)[0].double().numpy()
    flat = x.ravel()
    n = flat.size
    assert abs(flat.mean()) < 4 / math.sqrt(n)
    assert abs(flat.std() - 1) < 4 / math.sqrt(2 * n)
    assert abs(stats.kurtosis(flat)) < 4 * math.sqrt(24 / n)
    assert stats.kstest(flat, "norm").pvalue > 0.01
    assert stats.kstest(flat[0::2], "norm").pvalue > 0.01
    for lag in (1, 2, 64):
        assert abs((flat[lag:] * flat[:-lag]).mean()) < 4 / math.sqrt(n)
    # Box-Muller gives pairs on one circle: their squares must not go together either.
    assert abs(np.corrcoef(flat[0::2] ** 2, flat[1::2] ** 2)[0, 1]) < 4 / math.sqrt(n / 2)


def test_every_stream_seed_and_step_is_its_own() -> None:
    keys = [(s, stream, k) for s in (0, 1, 2**63) for stream in NoiseStream for k in (0, 1, 7)]
    rows = np.stack([draw_noise([s], [100], 8, stream, k).ravel().numpy() for s, stream, k in keys])
    off = np.corrcoef(rows) - np.eye(len(keys))
    assert np.abs(off).max() < 5 / math.sqrt(rows.shape[1])


def test_a_song_depends_on_its_seed_alone() -> None:
    batch = draw_noise([5, 6, 5], [9, 4, 6], 64)
    assert torch.equal(batch[1, :4], draw_noise([6], [4], 64)[0])
    assert torch.equal(batch[2, :6], batch[0, :6])
    assert torch.equal(batch[1, 4:], torch.zeros(5, 64))
    assert torch.equal(draw_noise([5], [3], 7)[0], draw_noise([5], [4], 7)[0, :3])  # an odd count


def test_polynomials_agree_with_libm() -> None:
    u = np.concatenate([np.random.default_rng(0).random(100_000), [0.0, 0.25, 0.5, 0.75, 1e-16]])
    cos, sin = noise._turn(u)
    assert np.abs(cos - np.cos(2 * np.pi * u)).max() < 2e-15
    assert np.abs(sin - np.sin(2 * np.pi * u)).max() < 2e-15
    positive = np.concatenate([u[u > 0], [2.0**-53, 1.0]])
    np.testing.assert_allclose(noise._log(positive), np.log(positive), rtol=1e-14, atol=0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_outside_the_key_is_refused(seed: int) -> None:
    with pytest.raises(InvalidRequest, match=r"^seed: "):
        draw_noise([seed], [4], 4)


def test_official_noise_is_torchs_own() -> None:
    generator = torch.Generator().manual_seed(42)
    want = torch.randn(1, 10, 64, generator=generator, dtype=torch.bfloat16)
    got = noise.official(42, 10, 64, torch.device("cpu"), torch.bfloat16)
    assert got.dtype == torch.float32 and torch.equal(got, want.float())
