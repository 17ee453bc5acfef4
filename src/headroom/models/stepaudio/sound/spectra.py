"""Spectra of recordings, a row a frame: Kaldi's filter banks, and mel spectrograms of two kinds."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from headroom.models.stepaudio.sound.bands import BANDS, SPEECH_BANDS
from headroom.models.stepaudio.sound.bands import FRAME as FRAME_24K

FrameWindow: TypeAlias = Literal["hamming", "povey"]

FRAME, SHIFT, SPECTRUM = 400, 160, 512  # samples at 16 kHz: 25 ms every 10 ms, padded
EMPHASIS = 0.97
LOWEST_HZ = 20.0
SPEECH_FFT = 400  # of the spectrogram that semantic codes are made of
PROMPT_FFT, PROMPT_HOP = 1920, FRAME_24K  # samples at 24 kHz: 50 frames a second
PROMPT_TOP_HZ = 8000.0
_EPSILON = torch.finfo(torch.float32).eps


def frames_of(samples: int) -> int:
    """Whole frames of Kaldi's filter banks in so many samples."""
    return max(0, (samples - FRAME) // SHIFT + 1)


def filter_bank(samples: Tensor, window: FrameWindow) -> Tensor:
    """Samples [n] at 16 kHz → logarithms of 80 bands of power, [frames, 80].

    As Kaldi computes them: whole frames only, each without its mean, pre-emphasised, windowed; no
    dither, so that equal sound gives equal numbers.
    """
    if frames_of(samples.shape[0]) == 0:
        return samples.new_empty(0, BANDS)
    frames = samples.float().unfold(0, FRAME, SHIFT)
    frames = frames - frames.mean(-1, keepdim=True)
    frames = frames - EMPHASIS * torch.cat((frames[:, :1], frames[:, :-1]), -1)
    frames = frames * _window(window).to(frames.device)
    power = torch.fft.rfft(frames, SPECTRUM).abs().square()
    bands: Tensor = power @ _kaldi_bands().to(frames.device).t()
    return bands.clamp_(min=_EPSILON).log_()


def speech_spectrogram(samples: Tensor) -> Tensor:
    """Samples [n] at 16 kHz → the spectrogram that Whisper reads, [128, n / 160], scaled."""
    window = torch.hann_window(SPEECH_FFT, device=samples.device)
    spectrum = torch.stft(
        samples.float(), SPEECH_FFT, SHIFT, window=window, return_complex=True
    )[..., :-1]  # fmt: skip
    bands = mel_bands(16_000, SPEECH_FFT, SPEECH_BANDS, 8000.0).to(samples.device)
    mel = (bands @ spectrum.abs().square()).clamp_(min=1e-10).log10_()
    return (torch.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0


def prompt_spectrogram(samples: Tensor) -> Tensor:
    """Samples [n] at 24 kHz → logarithms of 80 bands of magnitude, [n / 480, 80].

    Raises ValueError for fewer samples than reach around the first frame, 721.
    """
    around = (PROMPT_FFT - PROMPT_HOP) // 2
    if samples.shape[0] <= around:
        raise ValueError(f"{samples.shape[0]} samples, at least {around + 1} are needed")
    padded = F.pad(samples.float()[None], (around, around), mode="reflect")[0]
    frames = padded.unfold(0, PROMPT_FFT, PROMPT_HOP)
    frames = frames * torch.hann_window(PROMPT_FFT, device=samples.device)
    spectrum = torch.view_as_real(torch.fft.rfft(frames))
    magnitude = (spectrum.square().sum(-1) + 1e-9).sqrt_()
    bands = mel_bands(24_000, PROMPT_FFT, BANDS, PROMPT_TOP_HZ).to(samples.device)
    return (magnitude @ bands.t()).clamp_(min=1e-5).log_()


@lru_cache(maxsize=4)
def mel_bands(rate: int, size: int, count: int, top: float) -> Tensor:
    """Slaney's triangles of equal area, [count, size / 2 + 1], from 0 to `top` Hz."""
    edges = _slaney_hz(torch.linspace(0.0, float(_slaney_mel(top)), count + 2, dtype=torch.float64))
    hz = torch.linspace(0.0, rate / 2, size // 2 + 1, dtype=torch.float64)
    rise = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    triangles = torch.minimum(rise, fall).clamp_(min=0)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


_LINEAR = 200 / 3  # Hz per mel below 1 kHz
_KNEE = 1000.0
_STEP = math.log(6.4) / 27  # of the logarithm per mel above


def _slaney_mel(hz: float) -> float:
    if hz < _KNEE:
        return hz / _LINEAR
    return _KNEE / _LINEAR + math.log(hz / _KNEE) / _STEP


def _slaney_hz(mel: Tensor) -> Tensor:
    knee = _KNEE / _LINEAR
    high = _KNEE * torch.exp(_STEP * (mel - knee))
    return torch.where(mel < knee, mel * _LINEAR, high)


@lru_cache(maxsize=1)
def _kaldi_bands() -> Tensor:
    """Triangles that are even in Kaldi's mel, [80, 257]; nothing reaches the Nyquist frequency."""

    def mel(hz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hz / 700.0)

    low, high = mel(torch.tensor([LOWEST_HZ, 8000.0], dtype=torch.float64))
    edges = torch.linspace(float(low), float(high), BANDS + 2, dtype=torch.float64)
    bins = mel(torch.arange(SPECTRUM // 2, dtype=torch.float64) * (16_000 / SPECTRUM))
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return F.pad(torch.minimum(rise, fall).clamp_(min=0), (0, 1)).float()


@lru_cache(maxsize=2)
def _window(name: FrameWindow) -> Tensor:
    """Of 400 samples, its ends included: Hamming's, or a Hann window to the power of 0.85."""
    turn = torch.cos(2 * math.pi * torch.arange(FRAME, dtype=torch.float64) / (FRAME - 1))
    if name == "hamming":
        return (0.54 - 0.46 * turn).float()
    return (0.5 - 0.5 * turn).clamp_(min=0).pow_(0.85).float()
