"""The voice of a recording as a vector: CAM++ (Wang et al., 2023).

Batch norms are folded into scales and shifts when the file is converted: their statistics never
change.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.stepaudio.networks.shapes import SpeakerSizes
from headroom.models.stepaudio.sound.bands import BANDS

SEGMENT = 100  # frames that share a context
DILATIONS = (1, 2, 2)  # of the dense blocks
_STEPS = (2, 1)  # over bands, and over time


class SpeakerNetwork(nn.Module):
    """Keys: head, tdnn, blocks.{b}.{i}, transits.{b}, dense, out."""

    def __init__(self, sizes: SpeakerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.head = Head(sizes.channels)
        width = sizes.channels * BANDS // 8
        self.tdnn = nn.Conv1d(width, sizes.first, 5, stride=2, padding=2)
        self.blocks, self.transits = nn.ModuleList(), nn.ModuleList()
        width = sizes.first
        for number, count in enumerate(sizes.blocks):
            dilation = DILATIONS[min(number, len(DILATIONS) - 1)]
            layers = [
                DenseLayer(width + i * sizes.growth, sizes.growth, sizes.bottleneck, dilation)
                for i in range(count)
            ]
            self.blocks.append(nn.ModuleList(layers))
            width += count * sizes.growth
            last = number == len(sizes.blocks) - 1
            self.transits.append(Transit(width, width // 2, bias=last))
            width //= 2
        self.dense = nn.Conv1d(2 * width, sizes.outputs, 1, bias=False)
        self.out = Affine(sizes.outputs)

    def forward(self, bank: Tensor) -> Tensor:
        """Filter banks [T, 80] without their mean over time → the voice, [outputs]."""
        x = self.tdnn(self.head(bank.t()[None])).relu_()
        for block, transit in zip(self._blocks(), self.transits, strict=True):
            for layer in block:
                x = torch.cat((x, layer(x)), 1)
            x = transit(x)
        x = x.relu()
        described = torch.cat((x.mean(-1), x.std(-1)), 1)
        y: Tensor = self.out(self.dense(described.unsqueeze(-1)))
        return y[0, :, 0]

    def _blocks(self) -> Iterator[nn.ModuleList]:
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            yield block


class Affine(nn.Module):
    """x · weight + bias for each channel: a batch norm with its statistics folded in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(channels), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [1, channels, T], same shape out."""
        return torch.addcmul(self.bias[:, None], x, self.weight[:, None])


class Head(nn.Module):
    """Convolutions over bands and time. Keys: conv1, layer1.{i}, layer2.{i}, conv2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(1, channels, 3)
        self.layer1 = nn.Sequential(Residual(channels, True), Residual(channels, False))
        self.layer2 = nn.Sequential(Residual(channels, True), Residual(channels, False))
        self.conv2 = _conv(channels, channels, 3, _STEPS)

    def forward(self, x: Tensor) -> Tensor:
        """x [1, 80, T] → [1, channels · 10, T]."""
        y = self.layer2(self.layer1(self.conv1(x[:, None]).relu_()))
        z: Tensor = self.conv2(y).relu_().flatten(1, 2)
        return z


class Residual(nn.Module):
    """relu(conv2(relu(conv1(x))) + shortcut(x)). Keys: conv1, conv2, shortcut where bands halve."""

    def __init__(self, channels: int, halves: bool) -> None:
        super().__init__()
        stride = _STEPS if halves else (1, 1)
        self.conv1 = _conv(channels, channels, 3, stride)
        self.conv2 = _conv(channels, channels, 3)
        self.shortcut = _conv(channels, channels, 1, stride) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x).relu_()) + self.shortcut(x)
        return y.relu_()


class DenseLayer(nn.Module):
    """New channels for a dense block, each scaled by what it is surrounded by. Keys: norm, linear,
    local, context1, context2."""

    def __init__(self, inputs: int, growth: int, bottleneck: int, dilation: int) -> None:
        super().__init__()
        self.norm = Affine(inputs)
        self.linear = nn.Conv1d(inputs, bottleneck, 1)
        self.local = nn.Conv1d(
            bottleneck, growth, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.context1 = nn.Conv1d(bottleneck, bottleneck // 2, 1)
        self.context2 = nn.Conv1d(bottleneck // 2, growth, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [1, inputs, T] → [1, growth, T]."""
        x = self.linear(self.norm(x).relu_()).relu_()
        around = x.mean(-1, keepdim=True) + _segments(x)
        gate = self.context2(self.context1(around).relu_()).sigmoid_()
        y: Tensor = self.local(x).mul_(gate)
        return y


class Transit(nn.Module):
    """Halves the channels behind a dense block. Keys: norm, linear."""

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.norm = Affine(inputs)
        self.linear = nn.Conv1d(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.norm(x).relu_())
        return y


def _conv(inputs: int, outputs: int, kernel: int, stride: tuple[int, int] = (1, 1)) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)


def _segments(x: Tensor) -> Tensor:
    """The mean of each segment of 100 frames, at each of its frames; the last one may be short."""
    means = F.avg_pool1d(x, SEGMENT, SEGMENT, ceil_mode=True)
    return means.repeat_interleave(SEGMENT, -1)[..., : x.shape[-1]]
