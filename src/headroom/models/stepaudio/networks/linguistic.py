"""Linguistic codes of a recording: the SAN-M encoder of Paraformer, and the nearest of 1024 means.

The encoder is one for streams: it sees four frames of 60 ms at a time with the five before them,
and remembers sixteen keys of earlier ones in every layer. A window depends on windows before it
only through those keys, which are the first four of each; so all windows of a recording go through
a layer at once. Sources: Gao et al., "Paraformer", 2022; SAN-M: Gao et al., 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.stepaudio.networks.shapes import STACK, LinguisticSizes
from headroom.models.stepaudio.sound.bands import BANDS
from headroom.models.stepaudio.sound.spectra import frames_of
from headroom.nn.blocks import Blocks
from headroom.nn.causal import HIDDEN
from headroom.nn.library import attend

STRIDE = 6  # frames of 10 ms from one row to the next
BEFORE = (STACK - 1) // 2  # copies of the first frame in front of it
ROWS, OVERLAP = 4, 5  # new rows of a window, and those of the window before that it sees again
WINDOW = ROWS + OVERLAP
LOOK_BACK = 4  # windows whose keys are remembered
CHUNK = 3840  # samples of a window's new rows
_EPS = 1e-12


class LinguisticTokenizer(nn.Module):
    """Keys: encoder.…, shift, scale [inputs], codebook [codes, width]."""

    def __init__(self, sizes: LinguisticSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = SanmEncoder(sizes)
        self.shift = nn.Parameter(torch.empty(sizes.inputs), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(sizes.inputs), requires_grad=False)
        self.codebook = nn.Parameter(torch.empty(sizes.codes, sizes.width), requires_grad=False)

    def forward(self, bank: Tensor, samples: int) -> Tensor:
        """Filter banks [frames, 80] of so many samples → codes [rows], a row every 60 ms."""
        rows = stacked(bank, samples)
        if rows.shape[0] == 0:
            return rows.new_empty(0, dtype=torch.long)
        hidden = self.encoder((rows + self.shift) * self.scale)
        return nearest(hidden, self.codebook)


class SanmEncoder(nn.Module):
    """Keys: encoders0.0.…, encoders.{i}.…, after_norm."""

    def __init__(self, sizes: LinguisticSizes) -> None:
        super().__init__()
        self.width = sizes.width
        self.encoders0 = Blocks([SanmLayer(sizes, sizes.inputs)])
        self.encoders = Blocks(SanmLayer(sizes, sizes.width) for _ in range(sizes.layers - 1))
        self.after_norm = nn.LayerNorm(sizes.width, eps=_EPS)

    def forward(self, rows: Tensor) -> Tensor:
        """Normalised rows [R, inputs] → hidden states [R, width]."""
        x = rows * math.sqrt(self.width) + positions(rows)
        seen = windows(x)
        real = torch.arange(seen.shape[0] * ROWS, device=x.device) < x.shape[0]
        real = F.pad(real.view(-1, ROWS), (OVERLAP, 0), value=True)
        mask = _visible(real, x.dtype)
        y = seen
        for layer in (*self.encoders0.through(), *self.encoders.through()):
            assert isinstance(layer, SanmLayer)
            y = layer(y, real, mask)
        out: Tensor = self.after_norm(y[:, OVERLAP:].flatten(0, 1)[: x.shape[0]])
        return out


class SanmLayer(nn.Module):
    """x ← x + Attn(LN(x)); x ← x + FFN(LN(x)). The first layer, which changes the width, leaves
    out the first x."""

    def __init__(self, sizes: LinguisticSizes, inputs: int) -> None:
        super().__init__()
        self.self_attn = SanmAttention(sizes, inputs)
        self.feed_forward = FeedForward(sizes.width, sizes.hidden)
        self.norm1 = nn.LayerNorm(inputs, eps=_EPS)
        self.norm2 = nn.LayerNorm(sizes.width, eps=_EPS)
        self.residual = inputs == sizes.width

    def forward(self, x: Tensor, real: Tensor, mask: Tensor) -> Tensor:
        """Windows x [C, 9, inputs] → [C, 9, width]."""
        y = self.self_attn(self.norm1(x), real, mask)
        x = x + y if self.residual else y
        z: Tensor = x + self.feed_forward(self.norm2(x))
        return z


class SanmAttention(nn.Module):
    """Attention plus a memory: a depthwise convolution over the values. Keys: linear_q_k_v,
    linear_out, fsmn_block."""

    def __init__(self, sizes: LinguisticSizes, inputs: int) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.linear_q_k_v = nn.Linear(inputs, 3 * sizes.width)
        self.linear_out = nn.Linear(sizes.width, sizes.width)
        self.fsmn_block = nn.Conv1d(
            sizes.width, sizes.width, sizes.memory, padding=sizes.memory // 2, groups=sizes.width,
            bias=False,
        )  # fmt: skip

    def forward(self, x: Tensor, real: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.linear_q_k_v(x).chunk(3, -1)
        heads = [y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, k, v)]
        keys, values = (torch.cat((remembered(y), y), 2) for y in heads[1:])
        attended = attend(heads[0], keys, values, mask, False).transpose(1, 2).flatten(2)
        v = v * real.unsqueeze(-1)
        memory = self.fsmn_block(v.transpose(1, 2)).transpose(1, 2) + v
        y: Tensor = self.linear_out(attended) + memory
        return y


class FeedForward(nn.Module):
    """w_2(relu(w_1(x)))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, hidden)
        self.w_2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w_2(self.w_1(x).relu_())
        return y


def rows_of(samples: int) -> int:
    """Rows in so many samples. A stream of whole windows gives four for each; what remains after
    the last one counts if it fills a row."""
    whole, rest = divmod(samples, CHUNK)
    if rest == 0:
        return ROWS * whole
    left = frames_of(samples) + BEFORE - whole * ROWS * STRIDE
    return ROWS * whole + (-(-(left - BEFORE) // STRIDE) if left >= STACK else 0)


def stacked(bank: Tensor, samples: int) -> Tensor:
    """Frames [F, 80] → rows of seven frames each, [R, 560]; the last frame fills the last row."""
    count = rows_of(samples)
    if count == 0:
        return bank.new_empty(0, STACK * BANDS)
    padded = torch.cat((bank[:1].expand(BEFORE, -1), bank))
    needed = STRIDE * (count - 1) + STACK
    at = torch.arange(needed, device=bank.device).clamp_(max=padded.shape[0] - 1)
    return padded[at].unfold(0, STACK, STRIDE).transpose(1, 2).flatten(1)


def positions(rows: Tensor) -> Tensor:
    """Sines, then cosines, of the places 1 … R; same shape as rows [R, inputs]."""
    half = rows.shape[1] // 2
    steps = torch.arange(half, dtype=torch.float32, device=rows.device)
    angles = torch.outer(
        torch.arange(1, rows.shape[0] + 1, dtype=torch.float32, device=rows.device),
        torch.exp(steps * (-math.log(10_000) / (half - 1))),
    )
    return torch.cat((angles.sin(), angles.cos()), 1).to(rows.dtype)


def windows(x: Tensor) -> Tensor:
    """x [R, W] → [C, 9, W]: five rows before and four new ones; zeros around the recording."""
    missing = -x.shape[0] % ROWS
    padded = F.pad(x, (0, 0, OVERLAP, missing))
    return padded.unfold(0, WINDOW, ROWS).transpose(1, 2)


def remembered(x: Tensor) -> Tensor:
    """Keys or values x [C, H, 9, D] → those of the four windows before each, [C, H, 16, D]."""
    first = F.pad(x[:, :, :ROWS], (0, 0, 0, 0, 0, 0, LOOK_BACK, 0))
    return torch.cat([first[i : i + x.shape[0]] for i in range(LOOK_BACK)], 2)


def nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """The row of codebook [codes, W] with the least distance to each of x [R, W]."""
    far = codebook.square().sum(-1) - 2 * (x @ codebook.t())
    return far.argmin(-1)


def _visible(real: Tensor, dtype: torch.dtype) -> Tensor:
    """An additive mask [C, 1, 1, 25]: windows before the first, and rows after the last, are
    hidden."""
    count = real.shape[0]
    age = torch.arange(LOOK_BACK, 0, -1, device=real.device).repeat_interleave(ROWS)
    there = torch.arange(count, device=real.device).unsqueeze(1) >= age
    seen = torch.cat((there, real), 1)
    mask = torch.zeros(seen.shape, dtype=dtype, device=real.device)
    return mask.masked_fill_(~seen, HIDDEN)[:, None, None]
