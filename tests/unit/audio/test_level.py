from __future__ import annotations

import pytest
import torch

from headroom.audio.encode import finite
from headroom.audio.level import anticlip, fade, normalise, peak
from headroom.audio.wave import Audio
from headroom.errors import HeadroomError


def noise(level: float, frames: int = 1000) -> Audio:
    samples = torch.rand(2, frames, generator=torch.Generator().manual_seed(0)) - 0.5
    return Audio(samples * (level / float(samples.abs().max())), 100)


def test_loud_audio_is_divided_by_its_peak_and_quiet_audio_left_alone() -> None:
    assert peak(anticlip(noise(1.7))) == pytest.approx(1.0, abs=1e-6)
    quiet = noise(0.99)
    assert anticlip(quiet) is quiet


@pytest.mark.parametrize(("db", "expected"), [(-1.0, 0.891251), (0.0, 1.0), (-20.0, 0.1)])
def test_normalising_sets_the_peak(db: float, expected: float) -> None:
    for level in (1e-5, 0.3, 4.0):
        assert peak(normalise(noise(level), db)) == pytest.approx(expected, rel=1e-5)


def test_near_silence_is_not_normalised() -> None:
    almost = noise(9e-7)
    assert normalise(almost, -1.0) is almost


def test_fades_are_linear_and_leave_the_middle_alone() -> None:
    faded = fade(Audio(torch.ones(1, 100), 10), 1.0, 2.0).samples[0]
    assert faded[:11] == pytest.approx(torch.arange(11) / 10)
    assert bool((faded[10:80] == 1).all())
    assert faded[80:] == pytest.approx(torch.arange(19, -1, -1) / 20)


def test_a_fade_longer_than_the_audio_ends_with_it() -> None:
    faded = fade(Audio(torch.ones(1, 10), 10), 0.0, 60.0).samples[0]
    assert faded == pytest.approx(torch.arange(9, -1, -1) / 10)


def test_no_fade_changes_nothing() -> None:
    sound = noise(0.5)
    assert fade(sound, 0.0, 0.0) is sound


def test_a_negative_fade_is_refused() -> None:
    with pytest.raises(ValueError, match="0 s or more"):
        fade(noise(0.5), -1.0, 0.0)


def test_samples_that_are_no_numbers_are_counted_and_placed() -> None:
    sound = noise(0.5)
    assert finite(sound) is sound
    sound.samples[1, 250] = float("nan")
    sound.samples[0, 300] = float("-inf")
    with pytest.raises(HeadroomError, match=r"song 7: 2 of 2000 samples .* first at 2\.500 s"):
        finite(sound, "song 7")
