"""Run Qwen3 as a causal language model over a cache of keys and values (Qwen team, 2025).

The cache is written in place and never grows, so every step does the same work on the same tensors:
nothing is concatenated, and a graph can record it. The rows of the cache are the sequences of a
batch; each has its own length, and a mask marks the part of its row that is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.nn.blocks import Blocks
from headroom.nn.library import attend
from headroom.nn.norm import RMSNorm
from headroom.nn.qwen3 import Layer, Qwen3
from headroom.nn.rope import Rope, rope_table

HIDDEN = float("-inf")


@dataclass(frozen=True, slots=True)
class Past:
    """Keys and values of one layer, [rows, Hkv, capacity, D] each."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True)
class CachePosition:
    """The cache positions of one token per row.

    rows, at  [R] each: the row in the cache, and the position in it
    rope      for these positions
    masks     additive [r, 1, 1, seen], for groups of rows of similar length, in order: which of
              the first `seen` positions each row attends to, its own included
    """

    rows: Tensor
    at: Tensor
    rope: Rope
    masks: tuple[Tensor, ...]


class KeyHeads(Protocol):
    """Sizes that a cache of keys and values depends on."""

    @property
    def kv_heads(self) -> int: ...

    @property
    def head_dim(self) -> int: ...


class CachedLM(Protocol):
    """A causal language model over a cache, as the loops of `headroom.lm` see it."""

    @property
    def sizes(self) -> KeyHeads:
        """Sizes of its layers."""

    @property
    def layers(self) -> Blocks:
        """Its layers; each has its own keys and values."""

    @property
    def norm(self) -> RMSNorm:
        """The last norm, in the dtype of the whole network."""

    @property
    def embed_tokens(self) -> nn.Embedding:
        """The table of its vocabulary."""

    def rope(self, capacity: int, device: torch.device) -> Rope:
        """Cosines and sines of every position of a cache; of no width if nothing is rotated."""

    def prefill(
        self, ids: Tensor, past: Sequence[Past], row: int, start: int, rope: Rope
    ) -> Tensor:
        """As `CausalLM.prefill`."""

    def step(self, ids: Tensor, past: Sequence[Past], place: CachePosition) -> Tensor:
        """As `CausalLM.step`."""

    def logits(self, hidden: Tensor, words: slice) -> Tensor:
        """As `CausalLM.logits`."""


class CausalLM(Qwen3):
    """Qwen3 with next-token logits; the head is the embedding table. Keys: those of `Qwen3`."""

    def rope(self, capacity: int, device: torch.device) -> Rope:
        """Cosines and sines of every position of a cache."""
        dtype = self.norm.weight.dtype
        return rope_table((capacity,), self.sizes.head_dim, self.sizes.theta, dtype, device)

    def prefill(
        self, ids: Tensor, past: Sequence[Past], row: int, start: int, rope: Rope
    ) -> Tensor:
        """Tokens [n] of one row from position `start` on → final-norm hidden states [n, width].

        They attend to what the row holds before `start`; their keys and values are written.
        """
        x, stop = self.embed(ids), start + ids.shape[0]
        positions = Rope(rope.cos[start:stop], rope.sin[start:stop])
        mask = None if start == 0 else _staircase(ids.shape[0], start, x)
        for layer, layer_cache in zip(self.layers.through(), past, strict=True):
            assert isinstance(layer, Layer)
            x = _layer(layer, x, positions, layer_cache, _Run(row, start, stop, mask))
        y: Tensor = self.norm(x)
        return y

    def step(self, ids: Tensor, past: Sequence[Past], place: CachePosition) -> Tensor:
        """One token [R] of every row → final-norm hidden states [R, width]."""
        x = self.embed(ids)
        for layer, layer_cache in zip(self.layers.through(), past, strict=True):
            assert isinstance(layer, Layer)
            x = _layer(layer, x, place.rope, layer_cache, place)
        y: Tensor = self.norm(x)
        return y

    def logits(self, hidden: Tensor, words: slice) -> Tensor:
        """[n, width] → [n, words] in the model's dtype, for a contiguous part of the vocabulary."""
        return F.linear(hidden, self.embed_tokens.weight[words])


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive positions of one row."""

    row: int
    start: int
    stop: int
    mask: Tensor | None


def _layer(layer: Layer, x: Tensor, rope: Rope, past: Past, where: CachePosition | _Run) -> Tensor:
    attention = layer.self_attn
    q, k, v = attention.query_key_value(layer.input_layernorm(x))
    q, k = rope.rotate(q), rope.rotate(k)
    attended = (
        _many(q, k, v, past, where) if isinstance(where, _Run) else attend_one(q, k, v, past, where)
    )
    x = x + attention.output(attended)
    y: Tensor = x + layer.mlp(layer.post_attention_layernorm(x))
    return y


def _many(q: Tensor, k: Tensor, v: Tensor, past: Past, run: _Run) -> Tensor:
    """Write the run to the cache; each token attends to all up to itself; [n, Hq, D]."""
    keys, values = past.keys[run.row], past.values[run.row]
    keys[:, run.start : run.stop] = k.transpose(0, 1)
    values[:, run.start : run.stop] = v.transpose(0, 1)
    if run.mask is None:
        k, v = (t.transpose(0, 1)[None] for t in (k, v))
    else:
        k, v = keys[None, :, : run.stop], values[None, :, : run.stop]
    repeat = q.shape[1] // k.shape[1]
    if run.mask is not None and repeat > 1:  # no kernel takes both a mask and grouped heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    out = attend(q.transpose(0, 1)[None], k, v, run.mask, run.mask is None)
    return out[0].transpose(0, 1)


def attend_one(q: Tensor, k: Tensor, v: Tensor, past: Past, place: CachePosition) -> Tensor:
    """Write one token per row to the cache; it attends to its row; [R, Hq, D].

    The query heads of a key head form one longer query, so each key is read once. Masks may differ
    between heads, as [r, Hkv, Hq / Hkv, seen].
    """
    past.keys[place.rows, :, place.at] = k
    past.values[place.rows, :, place.at] = v
    rows, heads, size = q.shape
    groups, first, results = k.shape[1], 0, []
    folded = q.view(rows, groups, heads // groups, size)
    for mask in place.masks:  # the rows of a batch are the first ones of the cache
        count, used = mask.shape[0], mask.shape[-1]
        group = slice(first, first + count)
        keys, values = past.keys[group, :, :used], past.values[group, :, :used]
        wide = mask.expand(count, groups, heads // groups, used)
        results.append(attend(folded[group], keys, values, wide, False))
        first += count
    out = results[0] if len(results) == 1 else torch.cat(results)
    return out.reshape(rows, heads, size)


def _staircase(count: int, start: int, like: Tensor) -> Tensor:
    """Additive [count, start + count]: token i sees the first start + i + 1 positions."""
    mask = torch.full((count, start + count), HIDDEN, dtype=like.dtype, device=like.device)
    return mask.triu_(start + 1)
