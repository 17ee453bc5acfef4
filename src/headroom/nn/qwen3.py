"""Qwen3 transformer layers (Qwen team, 2025), for the text encoder and every ACE-Step encoder.

The ACE-Step encoders use the same layer without a causal mask and with windowed even layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headroom.nn.attention import MLP, Attention, Bands, make_bands
from headroom.nn.blocks import Blocks
from headroom.nn.norm import RMSNorm
from headroom.nn.rope import Rope, rope_table


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """Sizes of one transformer layer."""

    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    theta: float


class Layer(nn.Module):
    """x ← x + Attn(RMS(x)); x ← x + MLP(RMS(x))."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(sizes.width, sizes.eps)
        self.self_attn = Attention(
            sizes.width, sizes.heads, sizes.kv_heads, sizes.head_dim, sizes.eps
        )
        self.post_attention_layernorm = RMSNorm(sizes.width, sizes.eps)
        self.mlp = MLP(sizes.width, sizes.hidden)

    def forward(
        self,
        x: Tensor,
        rope: Rope,
        lengths: Sequence[int],
        window: int | None,
        causal: bool,
        bands: Bands | None,
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rope, lengths, window, causal, bands)
        y: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return y


def run_layers(
    layers: Blocks,
    x: Tensor,
    lengths: Sequence[int],
    sizes: LayerSizes,
    *,
    windows: Sequence[int | None],
    causal: bool = False,
) -> Tensor:
    """Packed x [N, width] through the layers; `windows[i]` is the window of layer i."""
    rope = rope_table(lengths, sizes.head_dim, sizes.theta, x.dtype, x.device)
    bands = make_bands(lengths, windows, x.dtype, x.device)
    for layer, window in zip(layers.through(), windows, strict=True):
        x = layer(x, rope, lengths, window, causal, bands)
    return x


class Qwen3(nn.Module):
    """The causal text encoder. Keys: embed_tokens, layers.{i}.…, norm."""

    def __init__(self, sizes: LayerSizes, layers: int, vocabulary: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed_tokens = nn.Embedding(vocabulary, sizes.width)
        self.layers = Blocks(Layer(sizes) for _ in range(layers))
        self.norm = RMSNorm(sizes.width, sizes.eps)

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids [N] → table rows [N, width]."""
        rows: Tensor = self.embed_tokens(ids)
        return rows

    def forward(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Packed ids [N] of sequences of `lengths` → final-norm hidden states [N, width]."""
        windows: tuple[None, ...] = (None,) * len(self.layers)
        x = run_layers(
            self.layers, self.embed(ids), lengths, self.sizes, windows=windows, causal=True
        )
        y: Tensor = self.norm(x)
        return y


def pack(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, list[int]]:
    """Token id lists → packed ids [N] and their lengths."""
    flat = [token for sequence in sequences for token in sequence]
    return torch.tensor(flat, dtype=torch.long, device=device), [len(s) for s in sequences]
