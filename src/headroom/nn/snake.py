"""The Snake activation (Ziyin et al., 2020) with a gain per channel, as in BigVGAN and Oobleck.

    y = x + sin²(e^α · x) / (e^β + 1e-9)

The files hold α and β; the layer uses e^α and 1 / (e^β + 1e-9), computed once at load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-9


def rate_from(alpha: Tensor) -> Tensor:
    """e^α, at least in fp32: α [1, C, 1] → [C, 1, 1]."""
    return _at_least_fp32(alpha).exp().reshape(-1, 1, 1)


def gain_from(beta: Tensor) -> Tensor:
    """1 / (e^β + 1e-9), at least in fp32: β [1, C, 1] → [C, 1, 1]."""
    return (_at_least_fp32(beta).exp() + EPSILON).reciprocal().reshape(-1, 1, 1)


def _at_least_fp32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Snake(nn.Module):
    """x [B, C, 1, T] → the same shape, a new tensor. `rate` and `gain` [C, 1, 1] are prepared."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.ones(channels, 1, 1), requires_grad=False)
        self.gain = nn.Parameter(torch.ones(channels, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            wave = torch.sin(x * self.rate)
            return x + wave * wave * self.gain
        y = x * self.rate  # the only tensor made; each pass below runs in place
        y.sin_().square_()
        return torch.addcmul(x, y, self.gain, out=y)
