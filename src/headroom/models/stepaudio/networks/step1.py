"""Step1, the language model of Step-Audio-EditX, over a cache of keys and values.

A Llama-like decoder whose only sense of position is a bias on the scores, −slope_h · √distance:
ALiBi (Press et al., 2022) with a square root. The bias depends on the distance alone, so cached
keys need no position, and one table serves all layers of a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from headroom.models.stepaudio.networks.config import READ, Step1Sizes
from headroom.nn.attention import MLP
from headroom.nn.attention_layout import MASK_STRIDE
from headroom.nn.blocks import Blocks
from headroom.nn.causal import HIDDEN, CachePosition, Past, attend_one
from headroom.nn.library import attend
from headroom.nn.linear import Linear, product
from headroom.nn.norm import RMSNorm
from headroom.nn.projections import Projections
from headroom.nn.rope import Rope


def slopes(heads: int) -> tuple[float, ...]:
    """The slope of every head. The first 2ⁿ of them fall from 2^(−8/2ⁿ) to 2⁻⁸; the rest lie
    between the first of these, at every other step of a series twice as fine."""
    whole = 1 << (heads.bit_length() - 1)
    first = [2 ** (-8 * k / whole) for k in range(1, whole + 1)]
    rest = [2 ** (-4 * k / whole) for k in range(1, 2 * (heads - whole), 2)]
    return (*first, *rest)


class Step1Layer(nn.Module):
    """x ← x + Attn(RMS(x)); x ← x + MLP(RMS(x))."""

    def __init__(self, sizes: Step1Sizes) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(sizes.width, sizes.eps)
        self.self_attn = Projections(sizes.width, sizes.heads, sizes.kv_heads, sizes.head_dim)
        self.post_attention_layernorm = RMSNorm(sizes.width, sizes.eps)
        self.mlp = MLP(sizes.width, sizes.hidden)


class Step1(nn.Module):
    """A `CachedLM`. Keys: embed_tokens, layers.{i}.…, norm, lm_head.

    The head is a matrix of its own, never the table of the embedding.
    """

    def __init__(self, sizes: Step1Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed_tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.layers = Blocks(Step1Layer(sizes) for _ in range(sizes.layers))
        self.norm = RMSNorm(sizes.width, sizes.eps)
        self.lm_head = Linear(sizes.width, sizes.vocabulary)

    def rope(self, capacity: int, device: torch.device) -> Rope:
        """Of no width: nothing is rotated."""
        nothing = torch.empty(capacity, 1, 0, dtype=self.norm.weight.dtype, device=device)
        return Rope(nothing, nothing)

    def prefill(
        self, ids: Tensor, past: Sequence[Past], row: int, start: int, rope: Rope
    ) -> Tensor:
        """Tokens [n] of one row from position `start` on → final-norm hidden states [n, width].

        They attend to what the row holds before `start`; their keys and values are written. A long
        prompt is read piece by piece.
        """
        parts = [
            self._read(ids[first : first + READ], past, row, start + first)
            for first in range(0, ids.shape[0], READ)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def step(self, ids: Tensor, past: Sequence[Past], place: CachePosition) -> Tensor:
        """One token [R] of every row → final-norm hidden states [R, width]."""
        x: Tensor = self.embed_tokens(ids)
        place = replace(place, masks=self._biased(place))
        for layer, layer_cache in zip(self.layers.through(), past, strict=True):
            assert isinstance(layer, Step1Layer)
            q, k, v = layer.self_attn.split(layer.input_layernorm(x))
            x = _after(layer, x, attend_one(q, k, v, layer_cache, place))
        y: Tensor = self.norm(x)
        return y

    def logits(self, hidden: Tensor, words: slice) -> Tensor:
        """[n, width] → [n, words] in the model's dtype, for a contiguous part of the vocabulary."""
        head = self.lm_head
        scale = None if head.scale is None else head.scale[words]
        return product(hidden, head.weight[words], scale, head.dynamic)

    def _read(self, ids: Tensor, past: Sequence[Past], row: int, start: int) -> Tensor:
        x: Tensor = self.embed_tokens(ids)
        bias = self._triangle(start, start + ids.shape[0], x)
        for layer, layer_cache in zip(self.layers.through(), past, strict=True):
            assert isinstance(layer, Step1Layer)
            q, k, v = layer.self_attn.split(layer.input_layernorm(x))
            keys, values = layer_cache.keys[row], layer_cache.values[row]
            keys[:, start : start + ids.shape[0]] = k.transpose(0, 1)
            values[:, start : start + ids.shape[0]] = v.transpose(0, 1)
            x = _after(layer, x, _attend_many(q, keys, values, bias))
        y: Tensor = self.norm(x)
        return y

    def _slopes(self, device: torch.device) -> Tensor:
        """[Hkv, Hq / Hkv] in fp32."""
        steep = torch.tensor(slopes(self.sizes.heads), device=device)
        return steep.view(self.sizes.kv_heads, -1)

    def _triangle(self, start: int, stop: int, like: Tensor) -> Tensor:
        """Biases [Hkv, Hq / Hkv, stop − start, stop] of the tokens from `start` on, −inf for those
        after them; rows aligned as the fused kernels need them."""
        place = torch.arange(stop, device=like.device)
        distance = place[start:, None] - place
        root = distance.clamp(min=0).float().sqrt_().neg_()
        root.masked_fill_(distance < 0, HIDDEN)
        steep = self._slopes(like.device)
        room = -(-stop // MASK_STRIDE) * MASK_STRIDE
        bias = like.new_empty(*steep.shape, stop - start, room)[..., :stop]
        for group, own in zip(bias, steep, strict=True):  # a group at a time: fp32 takes room
            group.copy_(own[:, None, None] * root)
        return bias

    def _biased(self, place: CachePosition) -> tuple[Tensor, ...]:
        """The masks of a step, with the bias of every head in them: [r, Hkv, Hq / Hkv, seen]."""
        steep = self._slopes(place.at.device)
        first, masks = 0, []
        for mask in place.masks:
            count, seen = mask.shape[0], mask.shape[-1]
            at = place.at[first : first + count, None]
            distance = at - torch.arange(seen, device=at.device)
            root = distance.clamp_(min=0).float().sqrt_().neg_()
            masks.append(mask + (steep[:, :, None] * root[:, None, None]).to(mask.dtype))
            first += count
        return tuple(masks)


def _after(layer: Step1Layer, x: Tensor, attended: Tensor) -> Tensor:
    """The rest of a layer, from attended values [N, Hq, D] on."""
    x = x + layer.self_attn.output(attended)
    y: Tensor = x + layer.mlp(layer.post_attention_layernorm(x))
    return y


def _attend_many(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Queries [n, Hq, D] over keys and values [Hkv, capacity, D] → [n, Hq, D].

    The query heads of a key head form one longer query, so no key is repeated.
    """
    groups, each, count, seen = bias.shape
    folded = q.view(count, groups, each, -1).permute(1, 2, 0, 3).reshape(groups, each * count, -1)
    mask = bias.view(groups, each * count, seen)
    out = attend(folded[None], keys[None, :, :seen], values[None, :, :seen], mask[None], False)
    return out[0].view(groups, each, count, -1).permute(2, 0, 1, 3).reshape(count, q.shape[1], -1)
