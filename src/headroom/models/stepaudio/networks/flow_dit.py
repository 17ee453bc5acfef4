"""The network that the flow integrates: a diffusion transformer with convolutions in its blocks.

Source: DiT (Peebles and Xie, 2023), as Step-Audio-EditX publishes it: in every block attention,
then a causal convolution, then a feed-forward network, each modulated by the time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.stepaudio.networks.shapes import FlowSizes
from headroom.nn.blocks import Blocks
from headroom.nn.library import attend

TIME_SCALE = 1000
_PERIOD = 10_000
_EPS = 1e-6


class FlowDiT(nn.Module):
    """Keys: t_embedder.mlp.0, t_embedder.mlp.2, in_proj, blocks.{i}, final_layer."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.t_embedder = TimeEmbedding(sizes.frequencies, sizes.dit_width)
        self.in_proj = nn.Linear(4 * sizes.mel, sizes.dit_width)
        self.blocks = Blocks(FlowBlock(sizes) for _ in range(sizes.blocks))
        self.final_layer = FinalLayer(sizes.dit_width, sizes.mel)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x [B, T, 4 · mel] (state, encoding, voice, condition) at time t [1] → the velocity
        [B, T, mel]."""
        time = self.t_embedder(t)
        x = self.in_proj(x)
        for block in self.blocks.through():
            x = block(x, time)
        y: Tensor = self.final_layer(x, time)
        return y


class TimeEmbedding(nn.Module):
    """Cosines, then sines, of 1000 t, through two layers. Keys: mlp.0, mlp.2."""

    def __init__(self, frequencies: int, width: int) -> None:
        super().__init__()
        self.waves = frequencies // 2
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """t [1] → [1, width]."""
        steps = torch.arange(self.waves, dtype=torch.float32, device=t.device)
        rates = torch.exp(steps * (-math.log(_PERIOD) / self.waves))
        angles = (t.float() * TIME_SCALE)[:, None] * rates
        turned = torch.cat((angles.cos(), angles.sin()), -1)
        y: Tensor = self.mlp(turned.to(t.dtype))
        return y


class FlowBlock(nn.Module):
    """Keys: attn, conv.block.1, .3 and .6, mlp.fc1, mlp.fc2, adaLN_modulation.1."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.width = sizes.dit_width
        self.attn = FlowAttention(sizes)
        self.conv = CausalConvolutions(sizes.dit_width)
        self.mlp = FlowMLP(sizes.dit_width, sizes.dit_hidden)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(sizes.dit_width, 9 * self.width))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, T, width], same shape out."""
        parts = self.adaLN_modulation(time).chunk(9, -1)
        # In the file the convolution's three come last, but it is the second in the block.
        for work, (shift, scale, gate) in (
            (self.attn, parts[0:3]), (self.conv, parts[6:9]), (self.mlp, parts[3:6]),
        ):  # fmt: skip
            x = torch.addcmul(x, gate, work(_modulated(x, shift, scale)))
        return x


class FlowAttention(nn.Module):
    """Every frame attends to all. Keys: to_q, to_k, to_v, q_norm, k_norm, proj."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.heads, inner = sizes.dit_heads, sizes.dit_heads * sizes.dit_head_dim
        self.to_q = nn.Linear(sizes.dit_width, inner)
        self.to_k = nn.Linear(sizes.dit_width, inner)
        self.to_v = nn.Linear(sizes.dit_width, inner)
        self.q_norm = nn.LayerNorm(sizes.dit_head_dim)
        self.k_norm = nn.LayerNorm(sizes.dit_head_dim)
        self.proj = nn.Linear(inner, sizes.dit_width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        seen = attend(self.q_norm(q), self.k_norm(k), v, None, False)
        y: Tensor = self.proj(seen.transpose(1, 2).flatten(2))
        return y


class CausalConvolutions(nn.Module):
    """conv(mish(LN(conv(x)))), each convolution over a frame and the two before it. Keys: block.1,
    block.3, block.6."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.ModuleDict(
            {
                "1": nn.Conv1d(width, width, 3),
                "3": nn.LayerNorm(width),
                "6": nn.Conv1d(width, width, 3),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.block["3"](_causal(self.block["1"], x))
        return _causal(self.block["6"], F.mish(y))


class FlowMLP(nn.Module):
    """fc2(gelu(fc1(x))), the GELU approximated by a hyperbolic tangent."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return y


class FinalLayer(nn.Module):
    """Keys: adaLN_modulation.1, linear."""

    def __init__(self, width: int, mel: int) -> None:
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.linear = nn.Linear(width, mel)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(time).chunk(2, -1)
        y: Tensor = self.linear(_modulated(x, shift, scale))
        return y


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LN(x) · (1 + scale) + shift."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=_EPS), 1 + scale)


def _causal(conv: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = conv(F.pad(x.transpose(1, 2), (2, 0))).transpose(1, 2)
    return y
