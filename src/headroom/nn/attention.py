"""Attention over packed sequences: [N, heads, D] where N is the sum of the lengths.

Sequences of a batch lie one behind the other without padding, so a batch of ragged songs equals
its single songs by construction: there is no mask that could leak, and nothing is computed for
padding. Grouped-query heads: key head j serves query heads j·r … j·r + r − 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.nn.norm import RMSNorm
from headroom.nn.rope import Rope


def spans(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Half-open ranges [start, stop) of the packed sequences."""
    return list(pairwise(accumulate(lengths, initial=0)))


def self_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Sequence[int],
    *,
    window: int | None = None,
    causal: bool = False,
) -> Tensor:
    """Each sequence attends to itself.

    q [N, Hq, D], k and v [N, Hkv, D] → [N, Hq, D]. `window` keeps |i − j| ≤ window
    (bidirectional); `causal` keeps j ≤ i. The two are not combined here.
    """
    if len(set(lengths)) <= 1:
        return _equal(q, k, v, max(len(lengths), 1), window, causal)
    parts = [_equal(q[a:b], k[a:b], v[a:b], 1, window, causal) for a, b in spans(lengths) if b > a]
    return torch.cat(parts)


def cross_attention(
    q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]
) -> Tensor:
    """Query group i attends to key group i; q [Nq, Hq, D], k and v [Nk, Hkv, D] → [Nq, Hq, D].

    There is no position in cross-attention, so all songs that share a condition are one group.
    """
    if len(q_lengths) == 1:
        return _attend(_heads(q, 1), _heads(k, 1), _heads(v, 1)).transpose(1, 2).flatten(0, 1)
    parts = [
        _attend(_heads(q[a:b], 1), _heads(k[c:d], 1), _heads(v[c:d], 1)).transpose(1, 2)[0]
        for (a, b), (c, d) in zip(spans(q_lengths), spans(k_lengths), strict=True)
    ]
    return torch.cat(parts)


def _heads(x: Tensor, batch: int) -> Tensor:
    """[B·S, heads, D] → [B, heads, S, D], a view."""
    return x.view(batch, x.shape[0] // batch, x.shape[1], x.shape[2]).transpose(1, 2)


def _equal(q: Tensor, k: Tensor, v: Tensor, batch: int, window: int | None, causal: bool) -> Tensor:
    q, k, v = _heads(q, batch), _heads(k, batch), _heads(v, batch)
    if window is not None and q.shape[2] > window + 1:
        out = (_windowed_loop if q.device.type == "cpu" else _windowed_fold)(q, k, v, window)
    else:
        out = _attend(q, k, v, causal=causal)
    return out.transpose(1, 2).flatten(0, 1)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Scaled dot-product attention with scale D^−½; [B, Hq, Sq, D] and [B, Hkv, Sk, D]."""
    grouped = q.shape[1] != k.shape[1]
    if grouped and mask is not None and q.device.type != "cpu":
        # With a mask the fused accelerator kernels want one key head a query head.
        repeat = q.shape[1] // k.shape[1]
        k, v, grouped = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1), False
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped
    )


def band(rows: int, columns: int, offset: int, window: int, device: torch.device) -> Tensor:
    """Additive-free boolean band: row i stands at column i + offset; True where visible."""
    i = torch.arange(rows, device=device).unsqueeze(1) + offset
    j = torch.arange(columns, device=device).unsqueeze(0)
    return (i - j).abs() <= window


def _windowed_loop(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """|i − j| ≤ window, a block of queries at a time over the keys it can see.

    Work and memory are linear in the length: the largest mask is [window, 3·window].
    """
    length, block = q.shape[2], max(window, 1)
    out = torch.empty_like(q)
    for start in range(0, length, block):
        stop = min(start + block, length)
        low, high = max(0, start - window), min(length, stop + window)
        mask = band(stop - start, high - low, start - low, window, q.device)
        out[:, :, start:stop] = _attend(
            q[:, :, start:stop], k[:, :, low:high], v[:, :, low:high], mask
        )
    return out


def _windowed_fold(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """|i − j| ≤ window as one kernel: blocks of queries are folded into the batch.

    Each block of 2·window queries sees 4·window keys; the mask is [blocks, 2w, 4w], linear in
    the length. Keys beyond the ends are masked, so every row sees at least itself.
    """
    batch, heads, length, size = q.shape
    block = 2 * max(window, 1)
    count = -(-length // block)
    tail = count * block - length
    span = block + 2 * window
    q = F.pad(q, (0, 0, 0, tail)).unflatten(2, (count, block)).transpose(1, 2).flatten(0, 1)
    folded = []
    for x in (k, v):
        padded = F.pad(x, (0, 0, window, window + tail))
        blocks = padded.unfold(2, span, block)  # [B, Hkv, count, D, span]
        folded.append(blocks.permute(0, 2, 1, 4, 3).flatten(0, 1))
    column = torch.arange(count, device=q.device)[:, None] * block - window
    column = column + torch.arange(span, device=q.device)[None, :]
    inside = ((column >= 0) & (column < length))[:, None, :]
    near = band(block, span, window, window, q.device)[None]
    # A padded query row may see no real key; it is cut off below, and must not become NaN.
    mask = (inside & near) | (~inside.any(-1, keepdim=True))
    mask = mask.repeat(batch, 1, 1).unsqueeze(1)
    out = _attend(q, folded[0], folded[1], mask)
    out = out.view(batch, count, heads, block, size).transpose(1, 2)
    return out.reshape(batch, heads, -1, size)[:, :, :length]


class Attention(nn.Module):
    """Projections with per-head RMS norms on query and key, no biases (the Qwen3 form).

    Keys: q_proj, k_proj, v_proj, o_proj, q_norm, k_norm. `fuse()` joins the three input
    projections into one product; it copies, so it belongs to the upload to an accelerator.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, head_dim: int, eps: float) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.q_proj = nn.Linear(width, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, width, bias=False)
        self.q_norm = RMSNorm(head_dim, eps)
        self.k_norm = RMSNorm(head_dim, eps)
        self.qkv: nn.Parameter | None
        self.register_parameter("qkv", None)

    def fuse(self) -> None:
        """One [(Hq + 2·Hkv)·D, width] weight instead of three; the three are dropped."""
        if self.qkv is None:
            weights = (self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
            self.qkv = nn.Parameter(torch.cat(weights), requires_grad=False)
            del self.q_proj, self.k_proj, self.v_proj

    def query(self, x: Tensor) -> Tensor:
        """x [N, width] → normed queries [N, Hq, D]."""
        weight = self.q_proj.weight if self.qkv is None else self.qkv[: self.heads * self.head_dim]
        q: Tensor = self.q_norm(F.linear(x, weight).view(x.shape[0], -1, self.head_dim))
        return q

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, width] → normed keys and values, [N, Hkv, D] each."""
        if self.qkv is None:
            k, v = self.k_proj(x), self.v_proj(x)
        else:
            k, v = F.linear(x, self.qkv[self.heads * self.head_dim :]).chunk(2, -1)
        k, v = (y.unflatten(-1, (-1, self.head_dim)) for y in (k, v))
        return self.k_norm(k), v

    def query_key_value(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, width] → normed queries, normed keys, values."""
        if self.qkv is None:
            return (self.query(x), *self.key_value(x))
        rows = F.linear(x, self.qkv).unflatten(-1, (-1, self.head_dim))
        q, k, v = rows.split((self.heads, self.kv_heads, self.kv_heads), dim=-2)
        return self.q_norm(q), self.k_norm(k), v

    def output(self, attended: Tensor) -> Tensor:
        """[N, Hq, D] → [N, width]."""
        y: Tensor = self.o_proj(attended.flatten(-2))
        return y

    def forward(
        self,
        x: Tensor,
        rope: Rope,
        lengths: Sequence[int],
        window: int | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Self-attention of packed x [N, width] → [N, width]."""
        q, k, v = self.query_key_value(x)
        q, k = rope.rotate(q), rope.rotate(k)
        return self.output(self_attention(q, k, v, lengths, window=window, causal=causal))


class MLP(nn.Module):
    """SwiGLU (Shazeer, 2020): down(silu(gate(x)) · up(x)), no biases."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.gate_up: nn.Parameter | None
        self.register_parameter("gate_up", None)

    def fuse(self) -> None:
        """Gate and up as one [2·hidden, width] weight; the two are dropped."""
        if self.gate_up is None:
            weights = (self.gate_proj.weight, self.up_proj.weight)
            self.gate_up = nn.Parameter(torch.cat(weights), requires_grad=False)
            del self.gate_proj, self.up_proj

    def forward(self, x: Tensor) -> Tensor:
        if self.gate_up is None:
            gate, up = self.gate_proj(x), self.up_proj(x)
        else:
            gate, up = F.linear(x, self.gate_up).chunk(2, -1)
        y: Tensor = self.down_proj(F.silu(gate) * up)
        return y


def fuse(module: nn.Module) -> None:
    """Fuse every projection below `module`."""
    for part in module.modules():
        if isinstance(part, (Attention, MLP)):
            part.fuse()
