"""Values that are computed once per request and read by every denoising step; no networks here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headroom.nn.attention import Bands
from headroom.nn.rope import Rope


@dataclass(frozen=True, slots=True)
class Layout:
    """How a ragged batch is packed: item i has `frames[i]` latent frames, `tokens[i]` tokens.

    `groups[c]` counts the tokens that share condition c (its items stand side by side).
    `gather` [N] picks the real tokens out of [B · Smax]; None when all items are equally long.
    `items` [N] is the item of each token. All of it is on the device before the first step.
    """

    frames: tuple[int, ...]
    tokens: tuple[int, ...]
    groups: tuple[int, ...]
    rope: Rope
    gather: Tensor | None
    keep: Tensor | None
    items: Tensor
    bands: Bands | None

    def spread(self, table: Tensor) -> Tensor:
        """[1, …] unchanged (it broadcasts); [B, …], a row per item → [N, …], a row per token."""
        return table if table.shape[0] == 1 else table.index_select(0, self.items)

    def pack(self, tokens: Tensor) -> Tensor:
        """[B, Smax, H] → [N, H]."""
        flat = tokens.flatten(0, 1)
        return flat if self.gather is None else flat.index_select(0, self.gather)

    def unpack(self, packed: Tensor) -> Tensor:
        """[N, 2·C] → [B, T, C], zero beyond each item's frames."""
        batch, longest = len(self.frames), max(self.frames)
        if self.gather is not None:
            room = packed.new_zeros(batch * max(self.tokens), packed.shape[-1])
            packed = room.index_copy(0, self.gather, packed)
        frames = packed.view(batch, 2 * max(self.tokens), -1)[:, :longest]
        return frames if self.keep is None else frames * self.keep


@dataclass(frozen=True, slots=True)
class Modulation:
    """AdaLN tensors for every time of a schedule, in the model's dtype.

    `layers` [K, n, 6, H] holds shift, 1 + scale, gate for attention and MLP of each layer; `out`
    [K, 2, H] holds shift and 1 + scale of the output norm.
    """

    layers: Tensor
    out: Tensor

    def at(self, *steps: int) -> tuple[Tensor, Tensor]:
        """The tensors of one step for all items, or of one step per item."""
        if len(steps) == 1:
            return self.layers[steps[0] : steps[0] + 1], self.out[steps[0] : steps[0] + 1]
        # Views, concatenated: a list index would be copied to the device, with a wait.
        layers, out = ([t[k : k + 1] for k in steps] for t in (self.layers, self.out))
        return torch.cat(layers), torch.cat(out)


@dataclass(frozen=True, slots=True)
class CrossCache:
    """Keys (normed) and values of each layer for the packed conditions, [ΣL, Hkv, D] each.

    `null[i]` [H] is what layer i's cross-attention adds under the null condition; `away` is the
    cache of conditions that replace the null condition, one for each condition.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    lengths: tuple[int, ...]
    null: Tensor | None
    away: CrossCache | None = None

    def layer(self, i: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """Keys and values of a layer, and the lengths of the conditions."""
        return self.keys[i], self.values[i], self.lengths

    def parted(self, count: int) -> CrossCache:
        """Its first `count` conditions, guided away from the others."""
        cut = sum(self.lengths[:count])
        keys, values = (tuple(t[cut:] for t in rows) for rows in (self.keys, self.values))
        away = CrossCache(keys, values, self.lengths[count:], None)
        keys, values = (tuple(t[:cut] for t in rows) for rows in (self.keys, self.values))
        return CrossCache(keys, values, self.lengths[:count], self.null, away)

    @property
    def bytes(self) -> int:
        size = sum(t.nbytes for t in (*self.keys, *self.values))
        return size + (0 if self.away is None else self.away.bytes)
