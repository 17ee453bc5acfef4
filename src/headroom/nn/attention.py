"""Compute attention over packed sequences: [N, heads, D] where N is the sum of the lengths.

The sequences of a batch are concatenated without padding, so a batch of songs of different lengths
gives the same results as the single songs by construction: there is no mask that could leak, and
nothing is computed for padding. Grouped-query heads: key head j serves query heads
j·r … j·r + r − 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.nn.attention_layout import DENSE_WINDOWS, MASK_STRIDE
from headroom.nn.library import attend
from headroom.nn.linear import Linear, product
from headroom.nn.norm import RMSNorm
from headroom.nn.projections import Projections
from headroom.nn.rope import Rope


@runtime_checkable
class Joined(Protocol):
    """A module that uses several of its matrices as one joined matrix if that is present.

    `joined` names the joined matrix (None until it is filled) and the matrices it is made of,
    stacked along their first dimension in this order.
    """

    joined: ClassVar[Mapping[str, tuple[str, ...]]]

    def get_parameter(self, target: str) -> nn.Parameter:
        """As in `nn.Module`."""


@dataclass(frozen=True, slots=True)
class Bands:
    """Masks of windowed attention, made once and used by every layer and step.

    One mask for all sequences if they have equal lengths, else one per sequence; None if a sequence
    is too short to need one. Masks are additive, in the dtype of the queries: a boolean mask would
    be converted to an additive one at every call.
    """

    window: int
    masks: tuple[Tensor | None, ...]

    def mask(self, sequence: int, window: int) -> Tensor | None:
        """The mask of a sequence; a batch that repeats the sequences reuses their masks."""
        return self.masks[sequence % len(self.masks)] if window == self.window else None


def make_bands(
    lengths: Sequence[int],
    windows: Sequence[int | None],
    dtype: torch.dtype,
    device: torch.device,
) -> Bands | None:
    """Masks for sequences of `lengths` under the first window of a stack; None on a CPU.

    A CPU works block by block and needs no mask longer than three windows.
    """
    window = next((w for w in windows if w is not None), None)
    if window is None or not lengths or device.type == "cpu":
        return None
    masks = {n: window_mask(n, window, dtype, device) for n in set(lengths) if n > window + 1}
    each = lengths[:1] if len(set(lengths)) == 1 else lengths
    return Bands(window, tuple(masks.get(n) for n in each))


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
    bands: Bands | None = None,
) -> Tensor:
    """Each sequence attends to itself.

    q [N, Hq, D], k and v [N, Hkv, D] → [N, Hq, D]. `window` keeps |i − j| ≤ window
    (bidirectional); `causal` keeps j ≤ i. The two are not combined. `bands` are the window's
    masks if they were made before.
    """

    def mask(sequence: int) -> Tensor | None:
        return None if bands is None or window is None else bands.mask(sequence, window)

    if len(set(lengths)) <= 1:
        return _equal(q, k, v, max(len(lengths), 1), window, causal, mask(0))
    parts = [
        _equal(q[a:b], k[a:b], v[a:b], 1, window, causal, mask(i))
        for i, (a, b) in enumerate(spans(lengths))
        if b > a
    ]
    return torch.cat(parts)


def cross_attention(
    q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]
) -> Tensor:
    """Query group i attends to key group i; q [Nq, Hq, D], k and v [Nk, Hkv, D] → [Nq, Hq, D].

    Cross-attention uses no positions, so all songs that share a condition form one group.
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


def _equal(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    batch: int,
    window: int | None,
    causal: bool,
    mask: Tensor | None,
) -> Tensor:
    q, k, v = _heads(q, batch), _heads(k, batch), _heads(v, batch)
    if window is None or q.shape[2] <= window + 1:
        out = _attend(q, k, v, causal=causal)
    elif q.device.type == "cpu":
        out = _windowed_loop(q, k, v, window)
    elif q.shape[2] <= DENSE_WINDOWS * window:
        out = _windowed_dense(q, k, v, window, mask)
    else:
        out = _windowed_fold(q, k, v, window, mask)
    return out.transpose(1, 2).flatten(0, 1)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Scaled dot-product attention with scale D^−½; [B, Hq, Sq, D] and [B, Hkv, Sk, D]."""
    grouped = q.shape[1] != k.shape[1]
    if grouped and not causal and q.device.type == "cpu":
        return _attend_folded(q, k, v, mask)
    plain = mask is None and q.dtype != torch.float32
    if grouped and not plain and q.device.type != "cpu":
        # Only flash attention, which takes neither a mask nor fp32, supports grouped heads; the
        # memory-efficient kernel needs one key head per query head, or a slow kernel is used.
        repeat = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    return attend(q, k, v, mask, causal)


def _attend_folded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Treat the query heads of a key head as one longer query: the CPU kernel reads each key once.

    Measured 1.1 to 1.3 times as fast as the kernel's own grouped heads (docs/log.md).
    """
    batch, heads, length, size = q.shape
    folded = q.reshape(batch, k.shape[1], -1, size)
    if mask is not None:
        mask = mask.repeat(*(1,) * (mask.dim() - 2), heads // k.shape[1], 1)
    out = F.scaled_dot_product_attention(folded, k, v, attn_mask=mask)
    return out.reshape(batch, heads, length, size)


def band(rows: int, columns: int, offset: int, window: int, device: torch.device) -> Tensor:
    """Boolean band: row i is at column i + offset; True where visible."""
    i = torch.arange(rows, device=device).unsqueeze(1) + offset
    j = torch.arange(columns, device=device).unsqueeze(0)
    return (i - j).abs() <= window


def _windowed_loop(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """|i − j| ≤ window, one block of queries at a time over the keys it can see.

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


def window_mask(length: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The mask an accelerator uses for sequences of one length, dense or in blocks."""
    make = _dense_mask if length <= DENSE_WINDOWS * window else _block_mask
    return make(length, window, dtype, device)


def _dense_mask(length: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """One mask over all pairs, [1, 1, S, S]."""
    return _additive(band(length, length, 0, window, device)[None], dtype)


def _block_mask(length: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[blocks, 1, 2w, 4w], linear in the length. Rows past the end see all; they are cut later."""
    block = 2 * max(window, 1)
    count, span = -(-length // block), block + 2 * window
    column = torch.arange(count, device=device)[:, None] * block - window
    column = column + torch.arange(span, device=device)[None, :]
    inside = ((column >= 0) & (column < length))[:, None, :]
    visible = inside & band(block, span, window, window, device)[None]
    return _additive(visible | ~visible.any(-1, keepdim=True), dtype)


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """[…, R, C] → […, 1, R, C], 0 where visible, else −inf; rows aligned to `MASK_STRIDE` elements.

    At every call the memory-efficient kernel copies a mask whose rows are not aligned.
    """
    columns = visible.shape[-1]
    room = (*visible.shape[:-1], -(-columns // MASK_STRIDE) * MASK_STRIDE)
    mask = torch.zeros(room, dtype=dtype, device=visible.device)[..., :columns]
    return mask.masked_fill_(~visible, float("-inf")).unsqueeze(1)


def _windowed_dense(
    q: Tensor, k: Tensor, v: Tensor, window: int, mask: Tensor | None = None
) -> Tensor:
    """|i − j| ≤ window as one kernel over all pairs; for sequences a few windows long."""
    if mask is None:
        mask = _dense_mask(q.shape[2], window, q.dtype, q.device)
    return _attend(q, k, v, mask)


def _windowed_fold(
    q: Tensor, k: Tensor, v: Tensor, window: int, mask: Tensor | None = None
) -> Tensor:
    """|i − j| ≤ window as one kernel: blocks of 2·window queries, each over 4·window keys.

    Blocks become the batch dimension and the batch is merged into the heads, so one mask serves any
    batch. Keys beyond the ends are masked.
    """
    batch, heads, length, size = q.shape
    block = 2 * max(window, 1)
    count = -(-length // block)
    tail = count * block - length
    span = block + 2 * window
    if mask is None:
        mask = _block_mask(length, window, q.dtype, q.device)
    q = F.pad(q, (0, 0, 0, tail)).unflatten(2, (count, block))
    q = q.permute(2, 0, 1, 3, 4).flatten(1, 2)  # [count, B · Hq, block, D]
    repeat = heads // k.shape[1]
    folded = []
    for x in (k, v):
        blocks = F.pad(x, (0, 0, window, window + tail)).unfold(2, span, block)
        blocks = blocks.permute(2, 0, 1, 4, 3).unsqueeze(3)  # [count, B, Hkv, 1, span, D]
        folded.append(blocks.expand(-1, -1, -1, repeat, -1, -1).flatten(1, 3))
    out = _attend(q, folded[0], folded[1], mask)
    out = out.view(count, batch, heads, block, size).permute(1, 2, 0, 3, 4)
    return out.reshape(batch, heads, -1, size)[:, :, :length]


class Attention(Projections):
    """`Projections` with per-head RMS norms on query and key (the Qwen3 form). Keys: those, q_norm,
    k_norm.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, head_dim: int, eps: float) -> None:
        super().__init__(width, heads, kv_heads, head_dim)
        self.q_norm = RMSNorm(head_dim, eps)
        self.k_norm = RMSNorm(head_dim, eps)

    def query(self, x: Tensor) -> Tensor:
        """x [N, width] → normalised queries [N, Hq, D]."""
        rows = self._joined(x, slice(0, self.heads * self.head_dim))
        rows = self.q_proj(x) if rows is None else rows
        q: Tensor = self.q_norm(rows.view(x.shape[0], -1, self.head_dim))
        return q

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, width] → normalised keys, and values, [N, Hkv, D] each."""
        rows = self._joined(x, slice(self.heads * self.head_dim, None))
        k, v = (self.k_proj(x), self.v_proj(x)) if rows is None else rows.chunk(2, -1)
        k, v = (y.unflatten(-1, (-1, self.head_dim)) for y in (k, v))
        return self.k_norm(k), v

    def query_key_value(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, width] → normalised queries, normalised keys, values."""
        q, k, v = self.split(x)
        return self.q_norm(q), self.k_norm(k), v

    def forward(
        self,
        x: Tensor,
        rope: Rope,
        lengths: Sequence[int],
        window: int | None = None,
        causal: bool = False,
        bands: Bands | None = None,
    ) -> Tensor:
        """Self-attention of packed x [N, width] → [N, width]."""
        q, k, v = self.query_key_value(x)
        q, k = rope.rotate(q), rope.rotate(k)
        attended = self_attention(q, k, v, lengths, window=window, causal=causal, bands=bands)
        return self.output(attended)


class MLP(nn.Module):
    """SwiGLU (Shazeer, 2020): down(silu(gate(x)) · up(x)), no biases. See `joined`."""

    joined: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {
            "gate_up": ("gate_proj.weight", "up_proj.weight"),
            "gate_up_scale": ("gate_proj.scale", "up_proj.scale"),
        }
    )

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = Linear(width, hidden)
        self.up_proj = Linear(width, hidden)
        self.down_proj = Linear(hidden, width)
        self.gate_up: nn.Parameter | None
        self.gate_up_scale: nn.Parameter | None
        self.register_parameter("gate_up", None)
        self.register_parameter("gate_up_scale", None)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate_up is None:
            gate, up = self.gate_proj(x), self.up_proj(x)
        else:
            rows = product(x, self.gate_up, self.gate_up_scale, self.gate_proj.dynamic)
            gate, up = rows.chunk(2, -1)
        y: Tensor = self.down_proj(F.silu(gate).mul_(up))
        return y
