from __future__ import annotations

import math

import numpy as np
import pytest
import pywt
import torch

from headroom.diffusion import corrections, noise, presets, wavelets
from headroom.diffusion.schedule import linear
from headroom.diffusion.wavelets import WAVELETS, check_wavelet, filters
from headroom.errors import InvalidRequest


def test_presets() -> None:
    preset, values = presets.repaint_preset, presets.RepaintPreset
    assert preset("conservative", 0.9) == values(1.0, 25, 0.05)
    assert preset("balanced") == values(0.5, 12, 0.025)
    assert preset("balanced", 1.0) == values(0.0, 0, 0.0)
    assert preset("balanced", 0.0) == preset("conservative")
    assert preset("aggressive") == values(0.0, 0, None)
    with pytest.raises(InvalidRequest, match=r"repaint_mode.*conservative, balanced, aggressive"):
        preset("gentle")
    with pytest.raises(InvalidRequest, match="repaint_strength"):
        preset("balanced", math.nan)


def test_ramps_lie_just_outside_the_region() -> None:
    mask = corrections.soft_mask([(5, 8)], [12], 14, 3)[0, :, 0]
    want = [0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0]
    assert mask.tolist() == want


def test_ramps_shorten_at_the_items_ends_and_vanish_for_all_or_nothing() -> None:
    mask = corrections.soft_mask([(1, 3), (0, 5), (2, 2)], [4, 5, 5], 6, 3)[..., 0]
    assert mask.tolist() == [
        [0.5, 1, 1, 0.5, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert corrections.frame_mask([2, 3], 3)[..., 0].tolist() == [[1, 1, 0], [1, 1, 1]]
    with pytest.raises(ValueError, match="does not lie in 4 of 6 frames"):
        corrections.soft_mask([(1, 5)], [4], 6, 0)


def test_blend_is_exact_where_the_mask_is_zero_or_one() -> None:
    x, source = noise.draw_noise([1], [20], 3), noise.draw_noise([2], [20], 3)
    got = corrections.blend(x, source, corrections.soft_mask([(8, 12)], [20], 20, 2))
    assert torch.equal(got[:, 8:12], x[:, 8:12])
    assert torch.equal(got[:, :6], source[:, :6]) and torch.equal(got[:, 14:], source[:, 14:])


@pytest.mark.parametrize(("ratio", "steps"), [(0.0, 0), (0.5, 2), (0.6, 3), (1.0, 5)])
def test_injection_lasts_for_the_rounded_share_of_the_steps(ratio: float, steps: int) -> None:
    start, source = noise.draw_noise([1], [6], 2), noise.draw_noise([2], [6], 2)
    region = corrections.soft_mask([(2, 4)], [6], 6, 0)
    schedule = linear(5, 1.0)
    inject = corrections.injection(source, start, region, ratio, schedule.times[1:])
    x = torch.full_like(start, 9.0)
    for k in range(5):
        got = inject(k, x, x, x)
        assert torch.equal(got[:, 2:4], x[:, 2:4])
        t = schedule.times[k + 1]
        kept = t * start + (1 - t) * source if k < steps else x
        torch.testing.assert_close(got[:, 4:], kept[:, 4:])


@pytest.mark.parametrize(("ratio", "steps"), [(1.0, 4), (0.9, 4), (0.5, 2)])
def test_injection_can_leave_the_last_step_alone(ratio: float, steps: int) -> None:
    start, source = noise.draw_noise([1], [6], 2), noise.draw_noise([2], [6], 2)
    region = corrections.soft_mask([(2, 4)], [6], 6, 0)
    levels = linear(5, 1.0).times[1:]
    inject = corrections.injection(source, start, region, ratio, levels, last_too=False)
    x = torch.full_like(start, 9.0)
    assert [not torch.equal(inject(k, x, x, x), x) for k in range(5)].count(True) == steps
    assert torch.equal(inject(4, x, x, x), x)


@pytest.mark.parametrize("frames", [1, 2, 7, 10])
def test_haar_round_trip_and_energy(frames: int) -> None:
    x = noise.draw_noise([1, 2], [frames, frames], 3)
    low, high = corrections.haar(x)
    torch.testing.assert_close(corrections.unhaar(low, high, frames), x, atol=1e-6, rtol=0)
    torch.testing.assert_close(low.square().sum() + high.square().sum(), x.square().sum())
    steady = torch.ones(1, 4, 1)
    assert corrections.haar(steady)[1].abs().max() == 0


def numpy_haar(x: np.ndarray, s_low: float, s_high: float, other: np.ndarray) -> np.ndarray:
    """x [T, C] with its bands pushed away from those of `other`, through a Haar matrix."""
    frames = len(x)
    size = frames + frames % 2
    matrix = np.zeros((size, size))
    for i in range(size // 2):
        matrix[i, 2 * i : 2 * i + 2] = 1, 1
        matrix[size // 2 + i, 2 * i : 2 * i + 2] = 1, -1
    matrix /= np.sqrt(2)
    pad = np.zeros((size - frames, x.shape[1]))
    a, b = (matrix @ np.concatenate([z, pad]) for z in (x, other))
    a[: size // 2] += s_low * (a[: size // 2] - b[: size // 2])
    a[size // 2 :] += s_high * (a[size // 2 :] - b[size // 2 :])
    return (matrix.T @ a)[:frames]


@pytest.mark.parametrize("frames", [9, 10])
@pytest.mark.parametrize("mode", ["low", "high", "double", "pix"])
def test_dcw_against_a_haar_matrix(mode: corrections.DcwMode, frames: int) -> None:
    schedule = linear(5, 3.0)
    k, t = 2, schedule.times[2]
    before, v, after = (noise.draw_noise([s], [frames], 4) for s in (1, 2, 3))
    got = corrections.dcw(schedule, mode, 0.3, 0.2)(k, before, v, after)
    b, w, a = (z[0].double().numpy() for z in (before, v, after))
    clean = b - t * w
    want = {
        "low": lambda: numpy_haar(a, t * 0.3, 0, clean),
        "high": lambda: numpy_haar(a, 0, (1 - t) * 0.3, clean),
        "double": lambda: numpy_haar(a, t * 0.3, (1 - t) * 0.2, clean),
        "pix": lambda: a + 0.3 * (a - clean),
    }[mode]()
    assert np.abs(got[0].numpy() - want).max() < 1e-6


@pytest.mark.parametrize("frames", [1, 2, 9, 40])
def test_every_wavelet_is_that_of_pywavelets(frames: int) -> None:
    assert sorted(WAVELETS) == sorted(pywt.wavelist(kind="discrete"))
    x = noise.draw_noise([1, 2], [frames, frames], 3)
    for name in WAVELETS[1:]:
        taps = filters(name)
        bands = corrections.analysed(x, taps)
        for band, want in zip(bands, pywt.dwt(x.double().numpy(), name, "zero", 1), strict=True):
            np.testing.assert_allclose(band.numpy(), want, atol=2e-5)
        whole = corrections.synthesised(*bands, taps, frames)
        exact = pywt.idwt(*pywt.dwt(x.double().numpy(), name, "zero", 1), name, "zero", 1)
        np.testing.assert_allclose(whole.numpy(), exact[:, :frames], atol=2e-5)


def test_a_wavelet_without_pywavelets_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wavelets, "find_spec", lambda name: None)
    check_wavelet("haar")
    with pytest.raises(InvalidRequest, match=r"dcw_wavelet: 'sym8'.*haar.*headroom-audio\[wavel"):
        check_wavelet("sym8")
    with pytest.raises(InvalidRequest, match=r"dcw_wavelet: 'morl'.*haar, db1.*sym20.*dmey"):
        check_wavelet("morl")


def test_dcw_leaves_padding_empty() -> None:
    """An odd item's last frame is paired with padding, which must not receive its half."""
    before, v, after = (noise.draw_noise([s, s], [8, 5], 4) for s in (1, 2, 3))
    valid = corrections.frame_mask([8, 5], 8)
    schedule = linear(4, 1.0)
    got = corrections.dcw(schedule, "double", 0.05, 0.02, valid)(1, before, v, after)
    assert torch.equal(got[1, 5:], torch.zeros(3, 4))
    leaky = corrections.dcw(schedule, "double", 0.05, 0.02)(1, before, v, after)
    assert leaky[1, 5].abs().max() > 0


def test_dcw_refuses_an_unknown_mode() -> None:
    with pytest.raises(InvalidRequest, match=r"dcw_mode: 'single'.*low, high, double, pix"):
        corrections.dcw(linear(4, 1.0), "single", 0.05, 0.02)  # type: ignore[arg-type]


def test_retake_turns_from_one_noise_to_the_other_at_constant_power() -> None:
    one, two = (
        noise.draw_noise([1], [4000], 8),
        noise.draw_noise([1], [4000], 8, noise.NoiseStream.RETAKE),
    )
    assert torch.equal(corrections.retake(one, two, 0.0), one)
    torch.testing.assert_close(corrections.retake(one, two, 1.0), two)
    half = corrections.retake(one, two, 0.5)
    torch.testing.assert_close(half, (one + two) / math.sqrt(2))
    assert float(half.std()) == pytest.approx(1, abs=0.02)
    with pytest.raises(InvalidRequest, match="retake_variance"):
        corrections.retake(one, two, 1.5)
