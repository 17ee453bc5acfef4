"""Outlines and loudness of files, read in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from headroom.audio import waveform as waveform_module
from headroom.audio.waveform import POINTS, waveform
from headroom.errors import InvalidSource


def written(folder: Path, samples: np.ndarray, rate: int = 48000) -> Path:
    path = folder / "song.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def noise(seconds: float, rate: int = 48000, channels: int = 2) -> np.ndarray:
    random = np.random.default_rng(1)
    swell = np.linspace(0.001, 0.5, int(seconds * rate))[:, None]
    return random.standard_normal((int(seconds * rate), channels)).clip(-1, 1) * swell


@pytest.mark.parametrize("piece", [1000, 4801, 1 << 18])
@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (44100, 1), (22050, 2), (8000, 5)])
def test_the_loudness_is_that_of_pyloudnorm(
    tmp_path: Path, rate: int, channels: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    monkeypatch.setattr(waveform_module, "_PIECE", piece)
    # A deep tone is filtered out, but for where a filter forgets what came before.
    deep = 0.3 * np.sin(2 * np.pi * 12 * np.arange(int(5.13 * rate)) / rate)
    samples = 0.3 * noise(5.13, rate, channels) + deep[:, None]
    loudness = waveform(written(tmp_path, samples, rate)).loudness
    assert loudness == pytest.approx(pyloudnorm.Meter(rate).integrated_loudness(samples), abs=0.02)


def test_a_full_scale_sine_has_the_loudness_of_the_standard(tmp_path: Path) -> None:
    """BS.1770: 997 Hz at 0 dBFS in one channel is -3.01 LUFS."""
    pytest.importorskip("pyloudnorm")
    tone = np.sin(2 * np.pi * 997 * np.arange(48000 * 20) / 48000)
    samples = np.stack([tone, np.zeros_like(tone)], axis=1)
    assert waveform(written(tmp_path, samples)).loudness == pytest.approx(-3.01, abs=0.06)


@pytest.mark.parametrize("samples", [np.zeros((96000, 2)), noise(0.39), np.zeros((0, 2))])
def test_what_has_no_loudness(tmp_path: Path, samples: np.ndarray) -> None:
    found = waveform(written(tmp_path, samples))
    assert found.loudness is None
    assert found.seconds == len(samples) / 48000


@pytest.mark.parametrize("piece", [7, 1000, 1 << 18])
def test_an_outline_has_the_extremes_of_each_part(
    tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waveform_module, "_PIECE", piece)
    samples = noise(2.0, 1000).astype(np.float32)
    found = waveform(written(tmp_path, samples, 1000))
    assert len(found.top) == 100
    parts = samples.reshape(100, 40)
    assert found.top == pytest.approx(parts.max(axis=1).clip(0), abs=6e-4)
    assert found.bottom == pytest.approx(parts.min(axis=1).clip(None, 0), abs=6e-4)
    half = found.of(50)
    assert half.top == tuple(
        max(pair) for pair in zip(found.top[::2], found.top[1::2], strict=True)
    )
    assert min(half.bottom) == min(found.bottom) and half.loudness == found.loudness
    for points in 1, 3, 99, 100, 101, 1000:
        other = found.of(points)
        assert len(other.top) == len(other.bottom) == points
        assert (max(other.top), min(other.bottom)) == (max(found.top), min(found.bottom))


def test_samples_beyond_full_scale_are_cut_and_long_files_stay_small(tmp_path: Path) -> None:
    found = waveform(written(tmp_path, np.full((8000 * 200, 1), 3.0), 8000))
    assert len(found.top) == POINTS and set(found.top) == {1.0} and set(found.bottom) == {0.0}


def test_what_is_no_audio_file(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"no sound")
    for name in "song.wav", "nothing.wav":
        with pytest.raises(InvalidSource, match="cannot be read"):
            waveform(tmp_path / name)
