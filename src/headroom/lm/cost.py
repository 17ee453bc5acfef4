"""What a cache of keys and values takes, as formulas. No torch."""

from __future__ import annotations

from headroom.units import MIB

ROUND = 256  # tokens a cache grows by, so that few sizes of it exist
SPLIT = 128  # positions of a split of attention, where our own kernels serve
MLX_READS = 512  # tokens of a prompt that mlx reads at once
MLX_SPARE = 256 * MIB  # memory mlx may keep that it does not use


def capacity(tokens: int) -> int:
    """Tokens a row of the cache has room for, where so many are wanted."""
    return -(-tokens // ROUND) * ROUND


def cache_bytes(
    layers: int, kv_heads: int, head_dim: int, rows: int, tokens: int, size: int
) -> int:
    """Keys and values of `rows` sequences of up to `tokens` tokens; `size` bytes a value."""
    return 2 * layers * kv_heads * head_dim * rows * capacity(tokens) * size
