"""Recordings as the networks hear them, against the definitions in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal

from headroom.models.stepaudio.sound.levels import capped, normalised, sounding, trimmed
from headroom.models.stepaudio.sound.rates import resampled
from headroom.models.stepaudio.sound.spectra import (
    filter_bank,
    frames_of,
    mel_bands,
    prompt_spectrogram,
    speech_spectrogram,
)


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.mark.parametrize(
    ("old", "new"), [(44_100, 16_000), (48_000, 24_000), (16_000, 24_000), (22_050, 16_000)]
)
@pytest.mark.parametrize("count", [1, 37, 400])
def test_resampling_is_the_windowed_sinc(old: int, new: int, count: int) -> None:
    x = noise(count, old)
    y = resampled(x, old, new)
    assert y.shape == (math.ceil(count * new / old),)
    b = 0.99 * min(old, new)
    for i in range(0, len(y), 7):
        t = b * (i / new - np.arange(count) / old)
        h = np.where(np.abs(t) <= 6, np.sinc(t) * np.cos(np.pi * t / 12) ** 2, 0) * b / old
        assert float(y[i]) == pytest.approx(float(x.double().numpy() @ h), abs=2e-6)


def test_trap_a_tone_keeps_its_level_and_what_is_above_is_gone() -> None:
    """A linear resampler would break the codes: it lets through what lies above the new rate."""
    time = torch.arange(48_000, dtype=torch.float64) / 48_000
    low = resampled(torch.sin(2 * math.pi * 440 * time).float(), 48_000, 16_000)
    high = resampled(torch.sin(2 * math.pi * 12_000 * time).float(), 48_000, 16_000)
    expected = torch.sin(2 * math.pi * 440 * torch.arange(16_000, dtype=torch.float64) / 16_000)
    assert (low - expected)[100:-100].abs().max() < 1e-3
    assert high[100:-100].abs().max() < 1e-2


def test_the_same_rate_changes_nothing() -> None:
    x = noise(10)
    assert resampled(x, 16_000, 16_000) is x


def test_levels_are_capped_and_raised() -> None:
    loud, quiet = torch.tensor([0.0, -2.0, 1.0]), torch.tensor([0.005, -0.001])
    assert torch.allclose(capped(loud), torch.tensor([0.0, -0.6, 0.3]))
    assert capped(quiet) is quiet
    assert torch.allclose(normalised(loud), loud / 2 * 0.999)
    assert torch.allclose(normalised(quiet), quiet / 0.01 * 0.999)
    assert normalised(torch.zeros(3)).abs().sum() == 0
    assert capped(torch.zeros(0)).shape == (0,)


def by_definition(x: np.ndarray) -> tuple[int, int]:
    """librosa's: root mean square of centred frames, 20 dB below the loudest."""
    padded = np.pad(x, 256)
    levels = np.array(
        [np.sqrt((padded[a : a + 512] ** 2).mean()) for a in range(0, len(padded) - 511, 128)]
    )
    loud = np.flatnonzero(20 * np.log10(np.maximum(levels, 1e-5) / levels.max()) > -20)
    return int(loud[0]) * 128, min(len(x), (int(loud[-1]) + 1) * 128)


@pytest.mark.parametrize(
    ("before", "after"), [(0, 0), (4000, 9000), (300, 0), (0, 5000), (900, 77)]
)
def test_silence_at_the_ends_is_trimmed(before: int, after: int) -> None:
    sound = noise(7003)
    x = torch.cat((torch.zeros(before), sound, torch.zeros(after)))
    start, stop = sounding(x)
    assert (start, stop) == by_definition(x.double().numpy())
    cut = trimmed(x)
    units = math.ceil((stop - start) / 240)
    assert cut.shape[0] == int(240 * units + 0.27 * 16_000)
    expected = np.zeros(cut.shape[0])
    for i in range(cut.shape[0]):  # 0.05 s before the sound begins
        at = start - 800 + i
        expected[i] = float(x[at]) if 0 <= at < len(x) else 0.0
    assert np.allclose(cut.numpy(), expected)


def kaldi(x: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Kaldi's filter bank, band by band and frame by frame."""
    edges = np.linspace(*(1127 * np.log1p(np.array([20.0, 8000.0]) / 700)), 82)
    rows = []
    for a in range(0, len(x) - 399, 160):
        frame = x[a : a + 400] - x[a : a + 400].mean()
        frame = frame - 0.97 * np.concatenate((frame[:1], frame[:-1]))
        power = np.abs(np.fft.rfft(frame * window, 512)) ** 2
        row = []
        for band in range(80):
            left, top, right = edges[band : band + 3]
            total = 0.0
            for k in range(256):
                mel = 1127 * math.log1p(k * 16_000 / 512 / 700)
                if left < mel < right:
                    share = (mel - left) / (top - left)
                    total += power[k] * (share if mel <= top else (right - mel) / (right - top))
            row.append(math.log(max(total, 1.1920928955078125e-07)))
        rows.append(row)
    return np.array(rows)


def test_filter_banks_are_kaldis() -> None:
    x = noise(400 + 2 * 160 + 159, 3) * 32_768
    windows = {"hamming": np.hamming(400), "povey": signal.windows.hann(400) ** 0.85}
    assert frames_of(len(x)) == 3
    assert (frames_of(399), filter_bank(x[:399], "povey").shape) == (0, (0, 80))
    for name in ("hamming", "povey"):
        ours = filter_bank(x, name).double().numpy()
        assert np.abs(ours - kaldi(x.double().numpy(), windows[name])).max() < 2e-4


def test_trap_codes_of_equal_sound_are_equal() -> None:
    """The reference adds noise to every frame, which changes one code in twenty."""
    x = noise(4000) * 32_768
    assert torch.equal(filter_bank(x, "hamming"), filter_bank(x.clone(), "hamming"))


def slaney(rate: int, size: int, count: int, top: float) -> np.ndarray:
    """Triangles of area 1 (in Hz), evenly spaced below 1 kHz and in its logarithm above."""
    mel_top = top / (200 / 3) if top < 1000 else 15 + 27 * math.log(top / 1000) / math.log(6.4)
    mels = np.linspace(0, mel_top, count + 2)
    hz = [m * 200 / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27) for m in mels]
    out = np.zeros((count, size // 2 + 1))
    for band in range(count):
        a, b, c = hz[band : band + 3]
        for k in range(size // 2 + 1):
            f = k * rate / size
            share = min((f - a) / (b - a), (c - f) / (c - b))
            out[band, k] = max(0.0, share) * 2 / (c - a)
    return out


@pytest.mark.parametrize(
    ("rate", "size", "count", "top"), [(16_000, 400, 128, 8000.0), (24_000, 1920, 80, 8000.0)]
)
def test_mel_bands_are_slaneys(rate: int, size: int, count: int, top: float) -> None:
    ours = mel_bands(rate, size, count, top).double().numpy()
    assert np.abs(ours - slaney(rate, size, count, top)).max() < 1e-7


def test_the_spectrogram_of_speech_is_whispers() -> None:
    x = noise(1600, 5)
    padded = np.pad(x.double().numpy(), 200, mode="reflect")
    window = signal.windows.hann(400, sym=False)
    frames = np.array([padded[a : a + 400] * window for a in range(0, len(padded) - 399, 160)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    mel = np.log10(np.maximum(power[:-1] @ slaney(16_000, 400, 128, 8000.0).T, 1e-10)).T
    mel = (np.maximum(mel, mel.max() - 8) + 4) / 4
    ours = speech_spectrogram(x).double().numpy()
    assert ours.shape == (128, 10)
    assert np.abs(ours - mel).max() < 1e-5


def test_the_spectrogram_of_a_prompt_is_in_logarithms_of_magnitudes() -> None:
    x = noise(480 * 6, 6)
    padded = np.pad(x.double().numpy(), 720, mode="reflect")
    window = signal.windows.hann(1920, sym=False)
    frames = np.array([padded[a : a + 1920] * window for a in range(0, len(padded) - 1919, 480)])
    magnitude = np.sqrt(np.abs(np.fft.rfft(frames)) ** 2 + 1e-9)
    mel = np.log(np.maximum(magnitude @ slaney(24_000, 1920, 80, 8000.0).T, 1e-5))
    ours = prompt_spectrogram(x).double().numpy()
    assert ours.shape == (6, 80)
    assert np.abs(ours - mel).max() < 1e-4
    with pytest.raises(ValueError, match="at least 721"):
        prompt_spectrogram(x[:720])
