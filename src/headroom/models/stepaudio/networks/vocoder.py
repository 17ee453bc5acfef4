"""The vocoder: from a mel spectrogram to sound. HiFTNet (Li et al., 2023): the spectrum of a source
of harmonics is shaped by convolutions, and turned into sound by an inverse Fourier transform.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.stepaudio.networks.shapes import VocoderSizes
from headroom.models.stepaudio.networks.vocoder_source import HarmonicSource, PitchNetwork
from headroom.weights.load import Recipe

SLOPE, LAST_SLOPE = 0.1, 0.01  # of the leaky rectifiers, and of the one before the last convolution
LIMIT = 0.99  # of a sample
_LOUDEST = 100.0  # magnitude
_TINY = 1e-9
_GAIN, _DIRECTION = (f".parametrizations.weight.original{i}" for i in (0, 1))


class Vocoder(nn.Module):
    """Keys, with folded weight norm: conv_pre, ups.{i}, source_downs.{i}, source_resblocks.{i},
    resblocks.{j}, conv_post, f0_predictor, m_source."""

    def __init__(self, sizes: VocoderSizes) -> None:
        super().__init__()
        self.sizes = sizes
        stages = range(len(sizes.up))
        self.conv_pre = nn.Conv1d(sizes.mel, sizes.width, 7, padding=3)
        self.ups = nn.ModuleList(_up(sizes, stage) for stage in stages)
        self.source_downs = nn.ModuleList(_down(sizes, stage) for stage in stages)
        self.source_resblocks = nn.ModuleList(
            SnakeBlock(sizes.channels(stage), sizes.source_side[stage], sizes.dilations)
            for stage in stages
        )
        self.resblocks = nn.ModuleList(
            SnakeBlock(sizes.channels(stage), side, sizes.dilations)
            for stage in stages
            for side in sizes.side
        )
        self.conv_post = nn.Conv1d(sizes.channels(stages[-1]), sizes.fft + 2, 7, padding=3)
        self.f0_predictor = PitchNetwork(sizes)
        self.m_source = HarmonicSource(sizes)

    def forward(self, mel: Tensor, noise: Tensor) -> Tensor:
        """A spectrogram [T, mel] and noise [T · frame, harmonics] → samples [T · frame]."""
        bands = mel.t()
        source = self.m_source(self.f0_predictor(bands), noise)
        return self.shaped(bands, source)

    def shaped(self, bands: Tensor, source: Tensor) -> Tensor:
        """A spectrogram [mel, T] and a source [T · frame] → samples [T · frame]."""
        spectrum = transformed(source, self.sizes.fft)
        x = self.conv_pre(bands[None])
        count = len(self.sizes.side)
        for stage, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            if stage == len(self.ups) - 1:
                x = F.pad(x, (1, 0), mode="reflect")
            x = x + self.source_resblocks[stage](self.source_downs[stage](spectrum))
            blocks = list(self.resblocks)[stage * count : (stage + 1) * count]
            x = sum((block(x) for block in blocks[1:]), blocks[0](x)) / count
        x = self.conv_post(F.leaky_relu(x, LAST_SLOPE))
        half = self.sizes.fft // 2 + 1
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        magnitude = x[:, :half].exp().clamp_(max=_LOUDEST)
        phase = x[:, half:].sin()
        parts = torch.cat((magnitude * phase.cos(), magnitude * phase.sin()), 1)
        return sounded(parts, self.sizes.fft).clamp_(-LIMIT, LIMIT)


class SnakeBlock(nn.Module):
    """Three times x ← x + conv2(snake(conv1(snake(x)))). Keys: convs1, convs2, activations1,
    activations2."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_same(channels, kernel, d) for d in dilations)
        self.convs2 = nn.ModuleList(_same(channels, kernel, 1) for _ in dilations)
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """x [1, channels, T], same shape out."""
        steps = zip(
            self.activations1, self.convs1, self.activations2, self.convs2, strict=True
        )  # fmt: skip
        for first, conv1, second, conv2 in steps:
            x = x + conv2(second(conv1(first(x))))
        return x


class Snake(nn.Module):
    """x + sin²(α x) / α (Liu et al., 2020). Key: alpha."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(channels), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha[:, None]
        return x + (x * alpha).sin_().square_().div_(alpha + _TINY)


def folded_norm(name: str) -> Recipe | None:
    """The recipe of a weight that the file stores as a gain and a direction; None for others."""
    path, _, leaf = name.rpartition(".")
    plain = ("source_downs.", "f0_predictor.classifier", "m_source.")
    if leaf != "weight" or path.startswith(plain):
        return None
    return Recipe((path + _GAIN, path + _DIRECTION), fold)


def fold(gain: Tensor, direction: Tensor) -> Tensor:
    """gain [n, 1, 1] · direction [n, m, k] / its norm (Salimans and Kingma, 2016)."""
    norm: Tensor = torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
    return direction * (gain / norm)


def transformed(samples: Tensor, fft: int) -> Tensor:
    """Samples [n] → the real, then the imaginary parts of their spectrum [1, fft + 2, n / hop + 1],
    a Hann window every quarter of it, reflected at the ends."""
    padded = F.pad(samples[None, None], (fft // 2, fft // 2), mode="reflect")
    return F.conv1d(padded, _analysis(fft, samples), stride=fft // 4)


def sounded(parts: Tensor, fft: int) -> Tensor:
    """The inverse of `transformed`: [1, fft + 2, F] → samples [(F − 1) · hop]."""
    kernel, window = _synthesis(fft, parts)
    hop = fft // 4
    summed = F.conv_transpose1d(parts, kernel, stride=hop)[0, 0]
    ones = window.new_ones(1, 1, parts.shape[-1])
    weight = F.conv_transpose1d(ones, window.square()[None, None], stride=hop)[0, 0]
    inside = slice(fft // 2, summed.shape[0] - fft // 2)
    return summed[inside] / weight[inside]


def _analysis(fft: int, like: Tensor) -> Tensor:
    """The windowed transform as filters, [fft + 2, 1, fft]."""
    real, imaginary, window = _waves(fft)
    return (torch.cat((real, -imaginary)) * window)[:, None].to(like)


def _synthesis(fft: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The windowed inverse as filters [fft + 2, 1, fft], and the window."""
    real, imaginary, window = _waves(fft)
    often = torch.full((fft // 2 + 1, 1), 2.0, dtype=torch.float64)
    often[0], often[-1] = 1.0, 1.0
    kernel = torch.cat((real * often, -imaginary * often)) * window / fft
    return kernel[:, None].to(like), window.to(like)


@lru_cache(maxsize=2)
def _waves(fft: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines and sines of every frequency [fft / 2 + 1, fft], and Hann's window [fft], on the
    host."""
    time = torch.arange(fft, dtype=torch.float64)
    angles = torch.outer(torch.arange(fft // 2 + 1, dtype=torch.float64), time)
    angles *= 2 * math.pi / fft
    return angles.cos(), angles.sin(), 0.5 - 0.5 * torch.cos(time * (2 * math.pi / fft))


def _up(sizes: VocoderSizes, stage: int) -> nn.Module:
    kernel, step = sizes.kernels[stage], sizes.up[stage]
    before, after = sizes.channels(stage - 1), sizes.channels(stage)
    return nn.ConvTranspose1d(before, after, kernel, step, padding=(kernel - step) // 2)


def _down(sizes: VocoderSizes, stage: int) -> nn.Module:
    """From the spectrum of the source to the rate of a stage."""
    step = math.prod(sizes.up[stage + 1 :])
    if step == 1:
        return nn.Conv1d(sizes.fft + 2, sizes.channels(stage), 1)
    return nn.Conv1d(sizes.fft + 2, sizes.channels(stage), 2 * step, step, padding=step // 2)


def _same(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    reach = (kernel - 1) * dilation // 2
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=reach)
