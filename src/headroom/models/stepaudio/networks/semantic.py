"""Semantic codes of a recording: an encoder like Whisper's, and the nearest of 4096 directions.

Source: CosyVoice, S3 tokenizer v1 at 25 Hz (Du et al., 2024), published as an ONNX graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.stepaudio.networks.linguistic import nearest
from headroom.models.stepaudio.networks.shapes import SemanticSizes
from headroom.nn.blocks import Blocks
from headroom.nn.library import attend

LONGEST = 480_000  # samples that are read at once: 30 s
SHORTEST = 480  # a piece with fewer samples has no code
_EPS = 1e-5


class SemanticTokenizer(nn.Module):
    """Keys: conv1, conv2, positional_embedding, blocks.{i}.…, codebook [codes, width]."""

    def __init__(self, sizes: SemanticSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.conv1 = nn.Conv1d(sizes.bands, sizes.width, 3, stride=2, padding=1)
        self.conv2 = nn.Conv1d(sizes.width, sizes.width, 3, stride=2, padding=1)
        self.positional_embedding = nn.Parameter(
            torch.empty(sizes.positions, sizes.width), requires_grad=False
        )
        self.blocks = Blocks(SemanticBlock(sizes) for _ in range(sizes.layers))
        self.codebook = nn.Parameter(torch.empty(sizes.codes, sizes.width), requires_grad=False)

    def forward(self, mel: Tensor) -> Tensor:
        """A spectrogram [bands, T] of at most 30 s → codes [T / 4], one every 40 ms."""
        return nearest(F.normalize(self.hidden(mel), eps=1e-12), self.codebook)

    def hidden(self, mel: Tensor) -> Tensor:
        """A spectrogram [bands, T] → hidden states [T / 4, width]."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel[None]))))[0].t()
        x = x + self.positional_embedding[: x.shape[0]]
        for block in self.blocks.through():
            x = block(x)
        return x


class SemanticBlock(nn.Module):
    """x ← x + Attn(LN(x)); x ← x + MLP(LN(x)). Keys: attn, attn_ln, mlp.0, mlp.2, mlp_ln."""

    def __init__(self, sizes: SemanticSizes) -> None:
        super().__init__()
        self.attn = SemanticAttention(sizes.width, sizes.heads)
        self.attn_ln = nn.LayerNorm(sizes.width, eps=_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(sizes.width, sizes.hidden), nn.GELU(), nn.Linear(sizes.hidden, sizes.width)
        )
        self.mlp_ln = nn.LayerNorm(sizes.width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, width] → [T, width]."""
        x = x + self.attn(self.attn_ln(x))
        y: Tensor = x + self.mlp(self.mlp_ln(x))
        return y


class SemanticAttention(nn.Module):
    """Every frame attends to all. Keys: query, key (without a bias), value, out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(0, 1)[None] for y in parts)
        y: Tensor = self.out(attend(q, k, v, None, False)[0].transpose(0, 1).flatten(1))
        return y
