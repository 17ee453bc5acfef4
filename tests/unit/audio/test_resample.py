from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headroom.audio.resample import resample, resampled_frames
from headroom.audio.wave import Audio
from support import synth

SECONDS = 4.0


def decibels(ratio: float) -> float:
    return float(20 * np.log10(max(ratio, 1e-12)))


def sweep(rate: int, low: float, high: float) -> Audio:
    return Audio(torch.from_numpy(synth.sweep(SECONDS, rate, low, high)), rate)


def largest(samples: torch.Tensor) -> float:
    """The largest magnitude, in decibels relative to the sweep's own."""
    return decibels(float(samples.abs().max()) / 0.5)


def above(audio: Audio, hertz: float) -> torch.Tensor:
    """What of the sound lies above a frequency."""
    spectrum = torch.fft.rfft(audio.samples.double())
    spectrum[:, : round(hertz * audio.seconds)] = 0
    high: torch.Tensor = torch.fft.irfft(spectrum, n=audio.frames)
    return high


UP = [(44_100, 48_000), (22_050, 48_000), (11_025, 48_000)]


@pytest.mark.parametrize(("old", "new"), [(96_000, 48_000), (48_000, 32_000), (48_000, 44_100)])
def test_what_the_new_rate_cannot_hold_is_gone_below_minus_80_db(old: int, new: int) -> None:
    too_high = sweep(old, new / 2 * 1.02, old / 2 * 0.99)
    assert largest(resample(too_high, new).samples) < -80


@pytest.mark.parametrize(("old", "new"), UP)
def test_nothing_new_appears_above_what_the_old_rate_held(old: int, new: int) -> None:
    got = resample(sweep(old, 20, old / 2 * 0.95), new)
    assert largest(above(got, old / 2 * 1.02)) < -80


@pytest.mark.parametrize(("old", "new"), [*UP, (96_000, 48_000)])
def test_what_both_rates_hold_passes_unchanged(old: int, new: int) -> None:
    """The sweep drawn at the new rate and the resampled one agree: no delay, and a ripple of at
    most 0.002 dB up to nine tenths of the band."""
    top = 0.9 * min(old, new) / 2
    got, drawn = resample(sweep(old, 20, top), new), sweep(new, 20, top)
    assert largest(got.samples - drawn.samples) < decibels(10 ** (0.002 / 20) - 1)


def test_repeating_samples_would_be_seen() -> None:
    crude = Audio(sweep(24_000, 20, 10_000).samples.repeat_interleave(2, dim=1), 48_000)
    assert largest(crude.samples - sweep(48_000, 20, 10_000).samples) > -10
    assert largest(above(crude, 12_240)) > -20


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 20_000),
    old=st.sampled_from([8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000]),
    new=st.sampled_from([16_000, 44_100, 48_000]),
)
def test_length_is_exact(frames: int, old: int, new: int) -> None:
    got = resample(Audio(torch.ones(2, frames), old), new)
    assert got.samples.shape == (2, round(frames * new / old))
    assert got.frames == resampled_frames(frames, old, new)
    assert got.rate == new


def test_channels_stay_apart() -> None:
    left = torch.from_numpy(synth.sweep(0.5, 44_100, 100, 5_000))
    both = resample(Audio(torch.cat((left, torch.zeros_like(left))), 44_100), 48_000)
    assert torch.equal(both.samples[:1], resample(Audio(left, 44_100), 48_000).samples)
    assert not both.samples[1].any()


def test_the_same_rate_is_the_same_audio() -> None:
    sound = Audio(torch.ones(1, 5), 48_000)
    assert resample(sound, 48_000) is sound
    with pytest.raises(ValueError, match="above 0 Hz"):
        resample(sound, 0)
