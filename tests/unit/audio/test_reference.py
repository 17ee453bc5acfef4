from __future__ import annotations

import pytest
import torch

from headroom.audio.reference import CUT, reference_cuts
from headroom.audio.wave import Audio
from headroom.errors import InvalidSource
from support import synth

GOLDEN = [6.74004, 37.26754, 78.06569]


def ramp(seconds: float, rate: int = 48_000) -> Audio:
    """Every sample tells where it stood, from 0 to 1."""
    return Audio(torch.linspace(0, 1, round(seconds * rate))[None], rate)


def starts(cut: Audio, frames: int) -> list[int]:
    return [round(float(v) * (frames - 1)) for v in cut.samples[0, ::CUT]]


@pytest.mark.parametrize("seconds", [0.5, 7.0, 29.99, 30.0, 45.0])
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_the_cuts_are_thirty_seconds_of_stereo_at_48_khz(seconds: float, rate: int) -> None:
    cut = reference_cuts(ramp(seconds, rate), 5)
    assert (cut.samples.shape, cut.rate) == ((2, 1_440_000), 48_000)


def test_one_cut_lies_in_each_third_and_follows_from_the_seed() -> None:
    frames = 90 * 48_000
    found = set()
    for seed in range(4):
        at = starts(reference_cuts(ramp(90), seed), frames)
        for third, start in enumerate(at):
            assert third * 30 * 48_000 <= start + 4 and start - 4 <= (third * 30 + 20) * 48_000
        found.add(tuple(at))
    assert len(found) == 4
    assert torch.equal(reference_cuts(ramp(90), 3).samples, reference_cuts(ramp(90), 3).samples)


def test_the_offsets_hold_everywhere() -> None:
    """Golden values: a song made with a reference must come out the same on another machine."""
    at = starts(reference_cuts(ramp(90), 42), 90 * 48_000)
    assert [start / 48_000 for start in at] == pytest.approx(GOLDEN, abs=0.001)


def test_a_cut_is_taken_as_it_is() -> None:
    sound = ramp(90)
    cut = reference_cuts(sound, 42).samples
    first = int((sound.samples[0] == cut[0, 0]).nonzero()[0])
    runs = [sound.samples[0, s : s + CUT] for s in range(first, first + 4)]
    assert any(torch.equal(cut[0, :CUT], run) for run in runs)


def test_a_short_recording_is_repeated() -> None:
    sound = Audio(torch.from_numpy(synth.voice(10)), 48_000)
    cut = reference_cuts(sound, 9).samples
    assert torch.equal(cut, sound.samples.repeat(2, 3))


def test_too_loud_a_recording_is_clamped() -> None:
    assert float(reference_cuts(Audio(torch.full((1, 480_000), 3.0), 48_000), 0).samples.max()) == 1


def test_silence_is_refused_by_name() -> None:
    quiet = Audio(torch.full((2, 48_000), 5e-7), 48_000)
    with pytest.raises(InvalidSource, match=r"reference_audio: 'tape\.wav' is silent; allowed: "):
        reference_cuts(quiet, 0, "tape.wav")
