"""The size of a cache of keys and values, as formulas. No torch."""

from __future__ import annotations

from headroom.units import MIB

ROUND = 256  # tokens a cache grows by, so that few sizes exist
SPLIT = 128  # positions in a split of attention, in our own kernels
MLX_READS = 512  # tokens of a prompt that mlx reads at once
MLX_SPARE = 256 * MIB  # unused memory that mlx may keep


def capacity(tokens: int) -> int:
    """Capacity of a row of the cache that must hold so many tokens."""
    return -(-tokens // ROUND) * ROUND


def cache_bytes(
    layers: int, kv_heads: int, head_dim: int, rows: int, tokens: int, size: int
) -> int:
    """Keys and values of `rows` sequences of up to `tokens` tokens; `size` bytes a value."""
    return 2 * layers * kv_heads * head_dim * rows * capacity(tokens) * size
