from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from headroom.audio.wave import Audio, clamped, pad, silent, stereo


def audio(*rows: list[float], rate: int = 10) -> Audio:
    return Audio(torch.tensor(rows), rate)


def test_sizes_of_audio() -> None:
    sound = Audio(torch.zeros(2, 72_000), 48_000)
    assert (sound.channels, sound.frames, sound.seconds) == (2, 72_000, 1.5)


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (torch.zeros(8), 10),
        (torch.zeros(0, 8), 10),
        (torch.zeros(1, 2, 8), 10),
        (torch.zeros(1, 8, dtype=torch.float64), 10),
        (torch.zeros(1, 8, dtype=torch.int16), 10),
        (torch.zeros(1, 8), 0),
    ],
)
def test_what_is_no_audio_is_refused(samples: torch.Tensor, rate: int) -> None:
    with pytest.raises(ValueError, match="audio"):
        Audio(samples, rate)


def test_mono_becomes_two_equal_channels() -> None:
    assert stereo(audio([1.0, 2.0])).samples.tolist() == [[1.0, 2.0], [1.0, 2.0]]


def test_many_channels_are_mixed_down() -> None:
    left, right = stereo(audio([0.1], [0.2], [0.3])).samples[:, 0].tolist()
    assert (left, right) == pytest.approx((0.1 + 0.3 * 0.5**0.5, 0.2 + 0.3 * 0.5**0.5))


def test_a_mix_beyond_full_scale_is_scaled() -> None:
    left, right = stereo(audio([0.5], [1.0], [1.0])).samples[:, 0].tolist()
    assert right == 1.0 and left == pytest.approx((0.5 + 0.5**0.5) / (1 + 0.5**0.5))


def test_clamping() -> None:
    assert clamped(audio([-2.0, -0.5, 1.5])).samples.tolist() == [[-1.0, -0.5, 1.0]]


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, True), (9e-7, True), (1.1e-6, False), (-1.0, False)]
)
def test_silence_is_below_a_millionth(value: float, expected: bool) -> None:
    assert silent(audio([0.0, 0.0], [0.0, value])) is expected


def test_padding_for_outpainting() -> None:
    padded = pad(audio([1.0, 2.0]), 0.2, 0.3)
    assert padded.samples.tolist() == [[0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0]]
    assert padded.rate == 10


@pytest.mark.parametrize("amount", [-0.1, float("nan")])
def test_padding_is_not_negative(amount: float) -> None:
    with pytest.raises(ValueError, match="0 s or more"):
        pad(audio([1.0]), amount, 0.0)


def test_asking_a_file_for_its_length_needs_no_torch() -> None:
    code = "import sys, headroom.audio.files; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
