"""The Oobleck encoder as it is trained: narrow, and written as wide as the official layout asks.

The official file has 128 channels, because its last layer has a mean and a scale for each of 64
latents. A narrow network is the same function as a wide one whose other channels are 0: their
convolutions have a gain of 0 and no bias, and Snake leaves 0 as it is.

Source: Stable Audio (Evans et al., 2024).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.nn.oobleck_layout import DILATIONS
from latents import LATENT, WAVE, Analysis
from music.piece import compose
from music.render import render
from oobleck import MIDDLE_PHASES, MULTIPLES, PHASES, RATIOS, NormedConv, ResidualUnit, Snake

QUIET = 6.0  # β of a Snake that hardly bends what passes
STEEPEST = 3.0  # greatest α at the beginning: sin²(e^α · x) of many α adds up to a logarithm
CERTAIN = -12.0  # of softplus: a standard deviation of nearly 0
LOUDER = (1.0, 3.0, 12.0, 50.0)  # gains of differences of order 0 to 3
RIDGE = 1e-5  # of the least squares, in parts of the mean square
FITTED_SONGS, FITTED_SECONDS, FITTED_FIRST = 16, 8.0, 450_000_000  # seeds of the first fit


class StridedConv(NormedConv):
    """Kernel 2 · stride: [B, C, n] → [B, C', n / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__((outputs, inputs, 2 * stride))
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.weight(), self.bias, self.step, self.step // 2)


class EncoderBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.res_unit1, self.res_unit2, self.res_unit3 = (
            ResidualUnit(inputs, dilation) for dilation in DILATIONS
        )
        self.snake1 = Snake(inputs)
        self.conv1 = StridedConv(inputs, outputs, stride)

    def units(self) -> tuple[ResidualUnit, ...]:
        return self.res_unit1, self.res_unit2, self.res_unit3

    def forward(self, x: Tensor) -> Tensor:
        x = self.res_unit3(self.res_unit2(self.res_unit1(x)))
        y: Tensor = self.conv1(self.snake1(x))
        return y


class Encoder(nn.Module):
    """[B, 2, n] → the means of latents, [B, 64, n / 1920]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * multiple for multiple in (1, *MULTIPLES)]
        self.conv1 = NormedConv((width, 2, 7))
        self.block = nn.ModuleList(
            EncoderBlock(widths[i], widths[i + 1], stride) for i, stride in enumerate(RATIOS)
        )
        self.snake1 = Snake(widths[-1])
        self.conv2 = NormedConv((LATENT, widths[-1], 3))

    def blocks(self) -> list[EncoderBlock]:
        return [block for block in self.block if isinstance(block, EncoderBlock)]

    def features(self, audio: Tensor) -> Tensor:
        """What the last convolution reads, [B, 4 · width, n / 1920]."""
        x = self.conv1(audio)
        for block in self.block:
            x = block(x)
        y: Tensor = self.snake1(x)
        return y

    def forward(self, audio: Tensor) -> Tensor:
        latents: Tensor = self.conv2(self.features(audio))
        return latents


@torch.no_grad()
def start_from_analysis(encoder: Encoder, analysis: Analysis, seed: int) -> None:
    """Let the wave below 1,500 Hz pass to where it can be analysed, and fit what remains.

    It travels as the decoder's does, in the other direction: 1 channel down to 6 kHz, 4 at
    1,500 Hz, 24 at 250 Hz. There a convolution sees the 480 samples of a frame's window. Its
    weights, and those of the last layer for the bands' levels, are least squares over songs.
    """
    draw = torch.Generator().manual_seed(seed)

    def noise(conv: NormedConv, scale: float) -> Tensor:
        shape = conv.weight_v.shape
        return torch.randn(shape, generator=draw) * (scale / math.sqrt(shape[1] * shape[2]))

    carried = (1, 1, 1, MIDDLE_PHASES, PHASES, WAVE)  # channels of the wave before each block
    snakes = [(encoder.snake1, WAVE)]
    for block, count in zip(encoder.blocks(), carried, strict=False):
        for unit in block.units():
            unit.conv1.set_weight(noise(unit.conv1, 1.0))
            weight = noise(unit.conv2, 0.5)
            weight[:count] *= 1e-3
            unit.conv2.set_weight(weight)
            snakes.append((unit.snake1, count))
            steep = torch.rand(unit.snake2.alpha.shape, generator=draw) * STEEPEST
            unit.snake2.alpha.copy_(steep)
            unit.snake2.beta.copy_(steep)  # else gradients grow from layer to layer
        snakes.append((block.snake1, count))
    for snake, count in snakes:
        snake.beta.fill_(1)
        snake.beta[:, :count] = QUIET

    weight = noise(encoder.conv1, 1.0)
    for channel in range(1, len(weight)):
        weight[channel] = _steepened(weight[channel], channel % len(LOUDER))
    weight[0] = 0
    weight[0, :, 3] = 0.5  # the middle of the two channels
    encoder.conv1.set_weight(weight)
    two, four, fours, six, ten = (block.conv1 for block in encoder.blocks())
    for conv, taps in ((two, (1.0, 3.0, 3.0, 1.0)), (four, _low_pass(8))):
        weight = noise(conv, 1.0)
        weight[0] = 0
        weight[0, 0] = torch.tensor(taps) / sum(taps)
        conv.set_weight(weight)
    for conv, phases in ((fours, MIDDLE_PHASES), (six, PHASES)):
        weight = noise(conv, 1.0)
        before = phases // conv.step
        for phase in range(phases):
            weight[phase] = 0
            weight[phase, phase % before, conv.step // 2 + phase // before] = 1
        conv.set_weight(weight)
    ten.set_weight(noise(ten, 1.0))
    encoder.conv2.set_weight(noise(encoder.conv2, 1.0))
    _fit(encoder, analysis)


def _steepened(filters: Tensor, order: int) -> Tensor:
    """Filters [2, 7] that are differences of some order, so that the loud low tones do not hide
    what the bands are to be measured in; the same for both channels."""
    taps = filters[0, : filters.shape[1] - order].numpy()
    for _ in range(order):
        taps = np.convolve(taps, (1.0, -1.0))
    return torch.from_numpy(taps / np.linalg.norm(taps) * LOUDER[order] / 2).expand_as(filters)


def _low_pass(taps: int) -> tuple[float, ...]:
    """Half of the rate that remains after a stride of `taps` / 2."""
    away = np.arange(taps) - (taps - 1) / 2
    shape = np.sinc(away * 2 / taps) * np.cos(np.pi * away / (taps + 1)) ** 2
    return tuple(float(value) for value in shape)


def _fit(encoder: Encoder, analysis: Analysis) -> None:
    """Fit the analysis of the wave, then all latents of the features before the last layer."""
    last = encoder.blocks()[-1]
    tonal, whole = _Squares(), _Squares()
    songs = []
    for song in range(FITTED_FIRST, FITTED_FIRST + FITTED_SONGS):
        sound = render(compose(song, FITTED_SECONDS)).mix
        x = encoder.conv1(torch.from_numpy(sound)[None])
        for block in encoder.blocks()[:-1]:
            x = block(x)
        for unit in last.units():
            x = unit(x)
        songs.append((last.snake1(x), torch.from_numpy(analysis.latents(sound)).T))
    edge = last.conv1.step // 2
    for x, latents in songs:
        seen = F.pad(x[0, :PHASES], (edge, edge)).unfold(1, 2 * last.conv1.step, last.conv1.step)
        tonal.add(seen.permute(1, 0, 2).flatten(1), latents[:, :WAVE])
    weight, bias = last.conv1.weight(), last.conv1.bias
    weight[:WAVE] = 0
    weight[:WAVE, :PHASES] = tonal.solved()[:-1].T.view(WAVE, PHASES, -1)
    last.conv1.set_weight(weight)
    for x, latents in songs:
        features = encoder.snake1(last.conv1(x))[0]
        seen = F.pad(features, (1, 1)).unfold(1, 3, 1)
        whole.add(seen.permute(1, 0, 2).flatten(1), latents)
    found = whole.solved()
    encoder.conv2.set_weight(found[:-1].T.reshape(encoder.conv2.weight_v.shape))
    bias = encoder.conv2.bias
    if bias is not None:
        bias.copy_(found[-1])


class _Squares:
    """Ridge regression with a constant, summed up song by song in double precision."""

    def __init__(self) -> None:
        self.moments: Tensor | None = None
        self.products: Tensor | None = None

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Rows of inputs [n, i] and outputs [n, o]."""
        rows = torch.cat((inputs, inputs.new_ones(len(inputs), 1)), dim=1).double()
        moments, products = rows.T @ rows, rows.T @ outputs.double()
        self.moments = moments if self.moments is None else self.moments + moments
        self.products = products if self.products is None else self.products + products

    def solved(self) -> Tensor:
        """[i + 1, o], the constant last."""
        if self.moments is None or self.products is None:
            raise ValueError("nothing was added")
        size = len(self.moments)
        ridge = torch.eye(size).double() * (RIDGE * self.moments.trace() / size)
        return torch.linalg.solve(self.moments + ridge, self.products).float()


def official(narrow: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """The state of a narrow encoder at the official width: names without prefix, fp32.

    The scales, which the narrow one lacks, say that every latent is certain.
    """
    wide = Encoder(width).state_dict()
    made: dict[str, Tensor] = {}
    for name, tensor in narrow.items():
        leaf = name.rpartition(".")[2]
        shape = list(wide[name].shape)
        if name.startswith("conv2."):
            shape[0] = 2 * LATENT
        room = torch.zeros(shape)
        if leaf == "weight_v":
            room[len(tensor) :] = 1  # with a gain of 0; without a direction there is no norm
        room[tuple(slice(size) for size in tensor.shape)] = tensor
        made[name] = room
    made["conv2.bias"][LATENT:] = CERTAIN
    return made
