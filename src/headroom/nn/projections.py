"""The projections of attention with grouped heads: four matrices, or the first three joined."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor, nn

from headroom.nn.linear import Linear, product


class Projections(nn.Module):
    """Queries, keys, values and the output, no biases. Keys: q_proj, k_proj, v_proj, o_proj.

    If `qkv` is filled, the three input projections are one product; see `joined`.
    """

    joined: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {
            "qkv": ("q_proj.weight", "k_proj.weight", "v_proj.weight"),
            "qkv_scale": ("q_proj.scale", "k_proj.scale", "v_proj.scale"),
        }
    )

    def __init__(self, width: int, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.q_proj = Linear(width, heads * head_dim)
        self.k_proj = Linear(width, kv_heads * head_dim)
        self.v_proj = Linear(width, kv_heads * head_dim)
        self.o_proj = Linear(heads * head_dim, width)
        self.qkv: nn.Parameter | None
        self.qkv_scale: nn.Parameter | None
        self.register_parameter("qkv", None)
        self.register_parameter("qkv_scale", None)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, width] → queries [N, Hq, D], keys and values [N, Hkv, D]."""
        rows = self._joined(x, slice(None))
        if rows is None:
            parts = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
            q, k, v = (y.unflatten(-1, (-1, self.head_dim)) for y in parts)
            return q, k, v
        rows = rows.unflatten(-1, (-1, self.head_dim))
        q, k, v = rows.split((self.heads, self.kv_heads, self.kv_heads), dim=-2)
        return q, k, v

    def output(self, attended: Tensor) -> Tensor:
        """Output projection, [N, Hq, D] → [N, width]."""
        y: Tensor = self.o_proj(attended.flatten(-2))
        return y

    def _joined(self, x: Tensor, rows: slice) -> Tensor | None:
        """The product with some rows of the joined projections; None if they are separate."""
        if self.qkv is None:
            return None
        scale = None if self.qkv_scale is None else self.qkv_scale[rows]
        return product(x, self.qkv[rows], scale, self.q_proj.dynamic)
