"""The Oobleck decoder as it is trained: the parameters and names of the official file.

`headroom.nn.oobleck` computes the same from folded weights and in place, which has no gradient.
Source: Stable Audio (Evans et al., 2024).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.nn.oobleck_layout import DILATIONS, KERNEL, OobleckConfig
from headroom.nn.snake import EPSILON
from latents import HOP, LATENT, WAVE, Analysis

RATIOS, MULTIPLES = (2, 4, 4, 6, 10), (1, 1, 2, 2, 4)
PHASES, MIDDLE_PHASES, FINE = 24, 4, 8  # samples at 6 kHz a row at 250 and 1,500 Hz; 48 over 6 kHz
QUIET = 4.0  # β of a Snake that hardly bends what passes


def nano_config(width: int) -> OobleckConfig:
    """The sizes of the nano VAE with a decoder of this width."""
    return OobleckConfig(2 * LATENT, RATIOS, MULTIPLES, width, LATENT, 2, 48_000)


class Snake(nn.Module):
    """x + sin²(e^α · x) / (e^β + 1e-9), [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        wave = torch.sin(x * self.alpha.exp())
        return x + wave * wave / (self.beta.exp() + EPSILON)


class NormedConv(nn.Module):
    """A weight-normed convolution, w = g · v / ‖v‖; transposed where it has a stride."""

    def __init__(
        self, shape: tuple[int, int, int], *, dilation: int = 1, stride: int = 0, bias: bool = True
    ) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation
        self.weight_g = nn.Parameter(torch.ones(shape[0], 1, 1))
        self.weight_v = nn.Parameter(torch.randn(shape))
        outputs = shape[1] if stride else shape[0]
        self.bias: nn.Parameter | None
        self.register_parameter("bias", nn.Parameter(torch.zeros(outputs)) if bias else None)

    def weight(self) -> Tensor:
        norm = torch.linalg.vector_norm(self.weight_v, dim=(1, 2), keepdim=True)
        return self.weight_v * (self.weight_g / norm)

    @torch.no_grad()
    def set_weight(self, weight: Tensor) -> None:
        """Start from this weight. No row of it may be zero."""
        self.weight_v.copy_(weight)
        self.weight_g.copy_(torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight()
        if self.stride:
            return F.conv_transpose1d(x, weight, self.bias, self.stride, self.stride // 2)
        reach = self.dilation * (weight.shape[2] // 2)
        return F.conv1d(x, weight, self.bias, padding=reach, dilation=self.dilation)


class ResidualUnit(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.snake1 = Snake(width)
        self.conv1 = NormedConv((width, width, KERNEL), dilation=dilation)
        self.snake2 = Snake(width)
        self.conv2 = NormedConv((width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.snake2(self.conv1(self.snake1(x))))
        return x + y


class DecoderBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.snake1 = Snake(inputs)
        self.conv_t1 = NormedConv((inputs, outputs, 2 * stride), stride=stride)
        self.res_unit1, self.res_unit2, self.res_unit3 = (
            ResidualUnit(outputs, dilation) for dilation in DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_t1(self.snake1(x))
        y: Tensor = self.res_unit3(self.res_unit2(self.res_unit1(x)))
        return y


class Decoder(nn.Module):
    """[B, 64, T] → [B, 2, 1920 · T]."""

    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        widths = config.decoder_widths
        self.conv1 = NormedConv((widths[0], config.latent_channels, 7))
        self.block = nn.ModuleList(
            DecoderBlock(widths[i], widths[i + 1], stride)
            for i, stride in enumerate(config.strides)
        )
        self.snake1 = Snake(widths[-1])
        self.conv2 = NormedConv((config.audio_channels, widths[-1], 7), bias=False)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.conv1(latents)
        for block in self.block:
            x = block(x)
        audio: Tensor = self.conv2(self.snake1(x))
        return audio


@torch.no_grad()
def start_from_inverse(decoder: Decoder, analysis: Analysis, seed: int) -> None:
    """Write the inverse of the computed latents into the weights.

    The wave at 6 kHz travels as samples side by side: 24 channels at 250 Hz, 4 at 1,500 Hz, 1 at
    6 kHz; there a residual unit interpolates it to 4 channels, which are one at 24 kHz, and the
    last block draws straight lines between its samples. Other channels begin small and random.
    """
    draw = torch.Generator().manual_seed(seed)

    def noise(conv: NormedConv, scale: float) -> Tensor:
        shape = conv.weight_v.shape
        fan = shape[0] * 2 if conv.stride else shape[1] * shape[2]
        return torch.randn(shape, generator=draw) * (scale / math.sqrt(fan))

    blocks = [block for block in decoder.block if isinstance(block, DecoderBlock)]
    for block in blocks:
        for unit in (block.res_unit1, block.res_unit2, block.res_unit3):
            unit.conv1.set_weight(noise(unit.conv1, 1.0))
            unit.conv2.set_weight(noise(unit.conv2, 1e-3))

    weight = noise(decoder.conv1, 1e-3)
    for channel in range(LATENT):
        weight[channel, channel] = 0
        weight[channel, channel, 3] = 1
    decoder.conv1.set_weight(weight)

    ten, six, four, fours, two = (block.conv_t1 for block in blocks)
    weight = noise(ten, 0.3)
    times = FINE * np.arange(2 * HOP // FINE) + (FINE - 1) / 2
    waves = torch.from_numpy(analysis.synthesis(times)).float()
    weight[:, :PHASES] = 0
    weight[:WAVE, :PHASES] = waves.view(WAVE, -1, PHASES).transpose(1, 2)
    ten.set_weight(weight)

    for conv, phases in ((six, MIDDLE_PHASES), (four, 1)):
        weight = noise(conv, 0.3)
        weight[:, :phases] = 0
        steps = conv.stride
        for sample in range(steps * phases):
            weight[sample] *= 0.01
            weight[sample, sample % phases, steps // 2 + sample // phases] = 1
        conv.set_weight(weight)

    unit = blocks[2].res_unit1  # channel 0 at 6 kHz → channels 1 … 4, together 24 kHz
    filters, spread = noise(unit.conv1, 1.0), noise(unit.conv2, 1e-3)
    taps = np.arange(KERNEL) - KERNEL // 2
    for phase in range(4):
        away = taps - (phase - 1.5) / 4
        shape = np.sinc(away * 0.8) * 0.8 * np.cos(np.pi * away / (KERNEL + 1)) ** 2
        filters[1 + phase] = 0
        filters[1 + phase, 0] = torch.from_numpy(shape / shape.sum()).float()
        spread[1 + phase] = 0
        spread[1 + phase, 1 + phase] = 1
        four.weight_v[:, 1 + phase] *= 1e-3
    unit.conv1.set_weight(filters)
    unit.conv2.set_weight(spread)

    weight = noise(fours, 0.3)
    weight[:, 0] = 0
    for phase in range(4):
        weight[1 + phase, :, :] *= 0.01
        weight[1 + phase, 0, 2 + phase] = 1
    fours.set_weight(weight)

    weight = noise(two, 0.3)
    weight[:, 0] = 0
    weight[0] *= 0.01
    weight[0, 0] = torch.tensor([0.25, 0.75, 0.75, 0.25])
    two.set_weight(weight)
    weight = noise(decoder.conv2, 1e-2)
    weight[:, 0] = 0
    weight[:, 0, 3] = 1
    decoder.conv2.set_weight(weight)
    _quieten(decoder, blocks)


def _quieten(decoder: Decoder, blocks: list[DecoderBlock]) -> None:
    """Let the channels that carry the wave pass every Snake nearly as they are."""
    carried = (PHASES, MIDDLE_PHASES, 5, 1, 1)  # channels of the wave after each block
    blocks[0].snake1.beta[:, :WAVE] = QUIET
    for index, (block, count) in enumerate(zip(blocks, carried, strict=True)):
        after = blocks[index + 1].snake1 if index + 1 < len(blocks) else decoder.snake1
        after.beta[:, :count] = QUIET
        for unit in (block.res_unit1, block.res_unit2, block.res_unit3):
            unit.snake1.beta[:, :count] = QUIET
    blocks[2].res_unit1.snake2.beta[:, 1:5] = QUIET
