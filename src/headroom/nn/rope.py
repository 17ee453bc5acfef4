"""Rotary position embedding, half-split form (Su et al., 2021; the layout of Llama and Qwen)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rope:
    """Cosines and sines of every packed token, [N, 1, D/2] in the model's dtype."""

    cos: Tensor
    sin: Tensor

    def rotate(self, x: Tensor) -> Tensor:
        """(x₁, x₂) → (x₁c − x₂s, x₂c + x₁s) for x [N, heads, D]."""
        first, second = x.chunk(2, dim=-1)
        return torch.cat(
            (first * self.cos - second * self.sin, second * self.cos + first * self.sin), dim=-1
        )

    def repeat(self, times: int) -> Rope:
        """The same positions for `times` copies of the packed tokens."""
        return Rope(self.cos.repeat(times, 1, 1), self.sin.repeat(times, 1, 1))


def rope_table(
    lengths: Sequence[int], head_dim: int, theta: float, dtype: torch.dtype, device: torch.device
) -> Rope:
    """Positions 0 … length−1 of each packed sequence. Angles are fp32, the table model dtype."""
    longest = max(lengths, default=0)
    powers = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    angles = torch.outer(
        torch.arange(longest, dtype=torch.float32, device=device), 1.0 / theta**powers
    )
    rows = [angles[:length] for length in lengths]
    packed = rows[0] if len(rows) == 1 else torch.cat(rows)
    return Rope(packed.cos().to(dtype).unsqueeze(1), packed.sin().to(dtype).unsqueeze(1))
