"""Finite scalar quantisation (Mentzer et al., 2023), in residual form with one quantiser.

The bound is the soft one (tanh stretched by 1 + 1/(ℓ − 1), then clamped) that the released
weights were trained with; plain tanh gives different indices. Everything runs in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

import torch
from torch import Tensor, nn


class FSQ(nn.Module):
    """Codes of a finite grid. Keys: project_in.{weight,bias}, project_out.{weight,bias}."""

    def __init__(self, width: int, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.basis = tuple(accumulate((1, *levels[:-1]), mul))
        self.codebook = prod(levels)
        self.project_in = nn.Linear(width, len(self.levels))
        self.project_out = nn.Linear(len(self.levels), width)

    def quantise(self, z: Tensor) -> Tensor:
        """Grid steps k [..., n], integers in 0 … ℓ − 1, of unbounded z [..., n]."""
        top = torch.tensor(self.levels, dtype=torch.float32, device=z.device) - 1
        stretch = 1 + 1 / top
        y = (stretch * torch.tanh(z.float() / stretch)).clamp(-1, 1)
        return torch.floor(top * (y + 1) / 2 + 0.5).long()

    def index(self, steps: Tensor) -> Tensor:
        """Grid steps [..., n] → index [...] in 0 … codebook − 1."""
        return (steps * torch.tensor(self.basis, device=steps.device)).sum(-1)

    def steps(self, index: Tensor) -> Tensor:
        """Index [...] → grid steps [..., n]."""
        basis = torch.tensor(self.basis, device=index.device)
        levels = torch.tensor(self.levels, device=index.device)
        return index.unsqueeze(-1) // basis % levels

    def values(self, steps: Tensor) -> Tensor:
        """Grid steps [..., n] → values in [−1, 1], fp32."""
        top = torch.tensor(self.levels, dtype=torch.float32, device=steps.device) - 1
        return 2 * steps.float() / top - 1

    def encode(self, h: Tensor) -> Tensor:
        """h [..., width] → index [...]."""
        z = nn.functional.linear(
            h.float(), self.project_in.weight.float(), self.project_in.bias.float()
        )
        return self.index(self.quantise(z))

    def decode(self, index: Tensor) -> Tensor:
        """Index [...] → quantised vector [..., width] in the weights' dtype."""
        q = self.values(self.steps(index)).to(self.project_out.weight.dtype)
        y: Tensor = self.project_out(q)
        return y
