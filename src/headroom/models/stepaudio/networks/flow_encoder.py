"""The encoder of the flow: from pairs of codes at 25 Hz to hidden states at 50 Hz.

A transformer with relative positions (Dai et al., "Transformer-XL", 2019) in two stacks, between
them a step that doubles the rate. Before the first, each frame looks a few frames ahead. Source:
CosyVoice 2 (Du et al., 2024).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.stepaudio.networks.shapes import FlowSizes
from headroom.nn.blocks import Blocks
from headroom.nn.library import attend

UP = 2  # frames out for a frame in
_EPS_LAYER, _EPS = 1e-12, 1e-5


class FlowEncoder(nn.Module):
    """Keys: embed, pre_lookahead_layer, encoders.{i}, up_layer, up_embed, up_encoders.{i},
    after_norm."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.embed = Entry(sizes.width)
        self.pre_lookahead_layer = LookAhead(sizes.width, sizes.ahead)
        self.encoders = Blocks(EncoderLayer(sizes) for _ in range(sizes.layers))
        self.up_layer = Doubling(sizes.width)
        self.up_embed = Entry(sizes.width)
        self.up_encoders = Blocks(EncoderLayer(sizes) for _ in range(sizes.up_layers))
        self.after_norm = nn.LayerNorm(sizes.width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, width] → [2 T, width]."""
        x = self.pre_lookahead_layer(self.embed(x))
        x = _through(self.encoders, x)
        x = self.up_embed(self.up_layer(x))
        y: Tensor = self.after_norm(_through(self.up_encoders, x))
        return y


class Entry(nn.Module):
    """√width · LN(Linear(x)). Keys: out.0, out.1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width, eps=_EPS))
        self.scale = math.sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(x).mul_(self.scale)
        return y


class LookAhead(nn.Module):
    """x + conv2(leaky(conv1(x))): the first sees frames ahead, the second two frames back."""

    def __init__(self, width: int, ahead: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, ahead + 1)
        self.conv2 = nn.Conv1d(width, width, 3)
        self.ahead = ahead

    def forward(self, x: Tensor) -> Tensor:
        """x [T, width], same shape out."""
        y = F.leaky_relu(self.conv1(F.pad(x.t()[None], (0, self.ahead))))
        z: Tensor = x + self.conv2(F.pad(y, (2, 0)))[0].t()
        return z


class Doubling(nn.Module):
    """Every frame twice, then a convolution that sees four frames back. Key: conv."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 2 * UP + 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, width] → [2 T, width]."""
        twice = x.repeat_interleave(UP, 0).t()[None]
        y: Tensor = self.conv(F.pad(twice, (2 * UP, 0)))[0].t()
        return y


class EncoderLayer(nn.Module):
    """x ← x + Attn(LN(x)); x ← x + FFN(LN(x))."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(sizes.width, sizes.heads)
        self.feed_forward = SiluForward(sizes.width, sizes.hidden)
        self.norm_mha = nn.LayerNorm(sizes.width, eps=_EPS_LAYER)
        self.norm_ff = nn.LayerNorm(sizes.width, eps=_EPS_LAYER)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), places)
        y: Tensor = x + self.feed_forward(self.norm_ff(x))
        return y


class SiluForward(nn.Module):
    """w_2(silu(w_1(x)))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, hidden)
        self.w_2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w_2(F.silu(self.w_1(x)))
        return y


class RelativeAttention(nn.Module):
    """Scores ((q + u)·k + (q + v)·p) / √d, p the position of a key relative to the query. Keys:
    linear_q, linear_k, linear_v, linear_out, linear_pos, pos_bias_u, pos_bias_v."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(heads, self.head_dim), requires_grad=False)
        self.pos_bias_v = nn.Parameter(torch.empty(heads, self.head_dim), requires_grad=False)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """x [T, width] and the table of positions [2 T − 1, width] → [T, width]."""
        parts = (self.linear_q(x), self.linear_k(x), self.linear_v(x), self.linear_pos(places))
        q, k, v, p = (y.unflatten(-1, (self.heads, -1)).transpose(0, 1) for y in parts)
        out = torch.empty_like(q)
        for head in range(self.heads):  # one at a time: scores of a position take room
            far = shifted((q[head] + self.pos_bias_v[head]) @ p[head].t())
            mask = far.mul_(self.head_dim**-0.5)[None, None]
            near = (q[head] + self.pos_bias_u[head])[None, None]
            seen = attend(near, k[head][None, None], v[head][None, None], mask, False)
            out[head] = seen[0, 0]
        y: Tensor = self.linear_out(out.transpose(0, 1).flatten(1))
        return y


def relative_positions(frames: int, width: int, like: Tensor) -> Tensor:
    """Sines and cosines of the distances T − 1 … −(T − 1), in turn, [2 T − 1, width]."""
    far = torch.arange(frames - 1, -frames, -1, dtype=torch.float32, device=like.device)
    steps = torch.arange(0, width, 2, dtype=torch.float32, device=like.device)
    angles = torch.outer(far, torch.exp(steps * (-math.log(10_000) / width)))
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1).to(like.dtype)


def shifted(scores: Tensor) -> Tensor:
    """Scores by distance [T, 2 T − 1] → by key [T, T]: entry (i, j) is that of distance i − j."""
    frames = scores.shape[0]
    rows = F.pad(scores, (1, 0)).view(2 * frames, frames)[1:]
    return rows.reshape(frames, 2 * frames - 1)[:, :frames]


def _through(layers: Blocks, x: Tensor) -> Tensor:
    places = relative_positions(x.shape[0], x.shape[1], x)
    for layer in layers.through():
        x = layer(x, places)
    return x
