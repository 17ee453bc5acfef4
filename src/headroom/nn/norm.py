"""Root-mean-square normalisation (Zhang & Sennrich, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headroom.nn.library import rms_norm


class RMSNorm(nn.Module):
    """y = x / sqrt(mean(x²) + eps) · weight over the last dimension, statistics in fp32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        on_cpu = x.device.type == "cpu" and x.dtype == torch.float32
        if on_cpu and not torch.compiler.is_compiling():
            # The CPU has no fused kernel for this: three passes instead of five.
            norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            scale = norm.square_().div_(x.shape[-1]).add_(self.eps).rsqrt_()
            return (x * scale).mul_(self.weight)
        return rms_norm(x, self.weight, self.eps)
