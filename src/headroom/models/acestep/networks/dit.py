"""ACE-Step 1.5's diffusion transformer: one velocity from noisy latents.

    tokens   = noisy · W + (source, mask) · W + b         a token is two latent frames
    per layer  x ← x + g₁ · SA(RMS(x)·(1 + sc₁) + sh₁)    even layers windowed, odd full
               x ← x + CA(RMS(x), condition)              no gate, no modulation, no RoPE
               x ← x + g₂ · MLP(RMS(x)·(1 + sc₂) + sh₂)
    velocity = RMS(x)·(1 + sc) + sh, projected back to two frames

What does not change from step to step is computed once and passed in: the modulation of every
time (`TimePath`), the keys and values of every condition (`CrossCache`), the source and mask
part of the input (`context`), positions and packing (`Layout`). Under guidance all rows of the
null condition are equal, so softmax averages equal values and its cross-attention is one
constant vector a layer, whatever the query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.acestep.networks.config import AceStepConfig
from headroom.models.acestep.networks.step_inputs import CrossCache, Layout, Modulation
from headroom.nn.attention import (
    MLP,
    Attention,
    Bands,
    cross_attention,
    make_bands,
    self_attention,
)
from headroom.nn.blocks import Blocks
from headroom.nn.norm import RMSNorm
from headroom.nn.rope import Rope, rope_table

__all__ = ["CrossCache", "DiT", "DiTLayer", "Layout", "Modulation", "TimePath", "time_features"]

TIME_FEATURES = 256
MAX_PERIOD = 10_000.0
TIME_SCALE = 1000


class TimeEmbedding(nn.Module):
    """t → e [K, H] and m [K, 6, H]. Keys: linear_1, linear_2, time_proj."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(TIME_FEATURES, width)
        self.linear_2 = nn.Linear(width, width)
        self.time_proj = nn.Linear(width, 6 * width)

    def forward(self, times: Tensor) -> tuple[Tensor, Tensor]:
        e = self.linear_2(F.silu(self.linear_1(time_features(times))))
        m: Tensor = self.time_proj(F.silu(e))
        return e, m.unflatten(-1, (6, -1))


def time_features(times: Tensor) -> Tensor:
    """times [K] in the model's dtype → [K, 256], cosines before sines.

    The product 1000·t is rounded to the model's dtype, as the weights were trained: in bf16 that
    moves the argument by up to 2, and computing it exactly changes the velocity by several per
    cent. Angles are fp32.
    """
    argument = (times * TIME_SCALE).float()
    half = TIME_FEATURES // 2
    index = torch.arange(half, dtype=torch.float32, device=times.device)
    angles = argument.unsqueeze(1) * torch.exp(-log(MAX_PERIOD) * index / half)
    return torch.cat((angles.cos(), angles.sin()), dim=-1).to(times.dtype)


class TimePath(nn.Module):
    """Both time embeddings: of t, and of t − r, which is 0 at inference.

    They are needed once a schedule and then no more, so they are a part of their own.
    Keys: time_embed.…, time_embed_r.….
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.time_embed = TimeEmbedding(width)
        self.time_embed_r = TimeEmbedding(width)

    def forward(self, times: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Times of a schedule → e [K, H] and m [K, 6, H]."""
        weight = self.time_embed.linear_1.weight
        t = torch.tensor(tuple(times), dtype=torch.float32, device=weight.device).to(weight.dtype)
        e, m = self.time_embed(t)
        e_r, m_r = self.time_embed_r(torch.zeros_like(t[:1]))
        return e + e_r, m + m_r


class DiTLayer(nn.Module):
    """One block. Keys as in the released files.

    `pieces` names the methods between the attentions. Their inputs are tensors that vary only in
    the number of rows, so once compiled they serve songs of every length; a whole block would be
    recompiled for each length, and torch gives up after a few.
    """

    pieces: ClassVar[tuple[str, ...]] = ("project", "merge", "ask", "answer", "feed_forward")

    def __init__(self, config: AceStepConfig, window: int | None) -> None:
        super().__init__()
        s = config.dit
        self.window = window
        self.self_attn_norm = RMSNorm(s.width, s.eps)
        self.self_attn = Attention(s.width, s.heads, s.kv_heads, s.head_dim, s.eps)
        self.cross_attn_norm = RMSNorm(s.width, s.eps)
        self.cross_attn = Attention(s.width, s.heads, s.kv_heads, s.head_dim, s.eps)
        self.mlp_norm = RMSNorm(s.width, s.eps)
        self.mlp = MLP(s.width, s.hidden)
        self.scale_shift_table = nn.Parameter(torch.empty(1, 6, s.width))

    def project(
        self, x: Tensor, shift: Tensor, scale: Tensor, rope: Rope
    ) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.self_attn.query_key_value(
            torch.addcmul(shift, self.self_attn_norm(x), scale)
        )
        return rope.rotate(q), rope.rotate(k), v

    def merge(self, x: Tensor, gate: Tensor, attended: Tensor) -> Tensor:
        return torch.addcmul(x, gate, self.self_attn.output(attended))

    def ask(self, x: Tensor) -> Tensor:
        return self.cross_attn.query(self.cross_attn_norm(x))

    def answer(self, x: Tensor, attended: Tensor) -> Tensor:
        return x + self.cross_attn.output(attended)

    def feed_forward(self, x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        return torch.addcmul(x, gate, self.mlp(torch.addcmul(shift, self.mlp_norm(x), scale)))

    def attend_self(
        self,
        x: Tensor,
        modulation: Sequence[Tensor],
        rope: Rope,
        tokens: Sequence[int],
        bands: Bands | None,
    ) -> Tensor:
        shift, scale, gate = modulation
        q, k, v = self.project(x, shift, scale, rope)
        attended = self_attention(q, k, v, tokens, window=self.window, bands=bands)
        return self.merge(x, gate, attended)

    def attend_cross(
        self, x: Tensor, k: Tensor, v: Tensor, groups: Sequence[int], lengths: Sequence[int]
    ) -> Tensor:
        return self.answer(x, cross_attention(self.ask(x), k, v, groups, lengths))

    def forward(
        self,
        x: Tensor,
        modulation: Sequence[Tensor],
        rope: Rope,
        tokens: Sequence[int],
        k: Tensor,
        v: Tensor,
        groups: Sequence[int],
        lengths: Sequence[int],
        null: Tensor | None,
        bands: Bands | None = None,
        away: tuple[Tensor, Tensor, Sequence[int]] | None = None,
    ) -> Tensor:
        """Packed x [N, H]; [2N, H], conditioned rows first, if `null` [H] is given, or `away`: the
        keys, values and lengths that the other half attends to."""
        x = self.attend_self(x, modulation[:3], rope, tokens, bands)
        if away is None and null is None:
            x = self.attend_cross(x, k, v, groups, lengths)
        else:
            conditioned, free = x.chunk(2)
            x = torch.cat((  # unnamed: a named result would stay alive through the feed-forward
                self.attend_cross(conditioned, k, v, groups, lengths),
                self.attend_cross(free, *away[:2], groups, away[2]) if away
                else free if null is None else free + null,
            ))  # fmt: skip
        return self.feed_forward(x, *modulation[3:])


class DiT(nn.Module):
    """The velocity network, without its time path. Keys as under `decoder.` in the files."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.config = config
        width, patch = config.dit.width, config.patch
        # The files keep these two as element 1 of a sequence; element 0 holds no weight.
        self.proj_in = nn.ModuleDict({"1": nn.Conv1d(config.in_channels, width, patch, patch)})
        self.condition_embedder = nn.Linear(config.encoder.width, width)
        self.layers = Blocks(
            DiTLayer(config, window) for window in config.layer_windows(config.dit_layers)
        )
        self.norm_out = RMSNorm(width, config.dit.eps)
        self.scale_shift_table = nn.Parameter(torch.empty(1, 2, width))
        self.proj_out = nn.ModuleDict(
            {"1": nn.ConvTranspose1d(width, config.latent_channels, patch, patch)}
        )

    @property
    def dtype(self) -> torch.dtype:
        return self.norm_out.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.norm_out.weight.device

    # --- once per request ----------------------------------------------------------------

    def layout(self, frames: Sequence[int], shared: Sequence[int] | None = None) -> Layout:
        """Packing of items of `frames` latent frames.

        `shared[c]` is how many neighbouring items use condition c; None: one condition per item.
        """
        patch = self.config.patch
        tokens = tuple(-(-n // patch) for n in frames)
        items = tuple(shared) if shared is not None else (1,) * len(tokens)
        ends = [sum(items[: i + 1]) for i in range(len(items))]
        groups = tuple(sum(tokens[a:b]) for a, b in zip([0, *ends], ends, strict=False))
        sizes = self.config.dit
        rope = rope_table(tokens, sizes.head_dim, sizes.theta, self.dtype, self.device)
        gather = keep = None
        if len(set(tokens)) > 1:
            rows = [torch.arange(n) + i * max(tokens) for i, n in enumerate(tokens)]
            gather = torch.cat(rows).to(self.device)
        if len(set(frames)) > 1:
            valid = torch.arange(max(frames)).unsqueeze(0) < torch.tensor(frames).unsqueeze(1)
            keep = valid.unsqueeze(-1).to(self.device, self.dtype)
        owners = torch.repeat_interleave(torch.arange(len(tokens)), torch.tensor(tokens))
        windows = self.config.layer_windows(self.config.dit_layers)
        bands = make_bands(tokens, windows, self.dtype, self.device)
        return Layout(
            tuple(frames), tokens, groups, rope, gather, keep, owners.to(self.device), bands
        )

    def modulation(self, e: Tensor, m: Tensor) -> Modulation:
        """Time path outputs e [K, H], m [K, 6, H] → AdaLN tensors of all layers and times."""
        tables = torch.cat([layer.scale_shift_table for layer in self._blocks()])
        layers = tables.unsqueeze(0) + m.unsqueeze(1)
        out = self.scale_shift_table + e.unsqueeze(1)
        offset = torch.zeros_like(layers[:1, :1])
        offset[:, :, (1, 4)] = 1
        return Modulation(layers + offset, out + offset.new_tensor([[0.0], [1.0]]))

    def condition(
        self,
        rows: Tensor,
        lengths: Sequence[int],
        null: Tensor | None = None,
        layers: int | None = None,
        away: tuple[Tensor, Sequence[int]] | None = None,
    ) -> CrossCache:
        """Packed condition rows [ΣL, E] (and null_condition_emb [1, 1, E], or `away`: the rows that
        guidance leads away from) → CrossCache of the first `layers` layers; None: of all."""
        if away is not None:  # one pass through the layers serves both
            both = self.condition(torch.cat((rows, away[0])), [*lengths, *away[1]], null, layers)
            return both.parted(len(lengths))
        embedded = self.condition_embedder(rows.to(self.dtype))
        row = None if null is None else self.condition_embedder(null.to(self.dtype).view(1, -1))
        repeat = self.config.dit.heads // self.config.dit.kv_heads
        keys, values, free = [], [], []
        for layer in self._through(layers):
            key, value = layer.cross_attn.key_value(embedded)
            keys.append(key)
            values.append(value)
            if row is not None:
                only = layer.cross_attn.key_value(row)[1].repeat_interleave(repeat, dim=1)
                free.append(layer.cross_attn.output(only))
        vectors = torch.cat(free) if free else None
        return CrossCache(tuple(keys), tuple(values), tuple(lengths), vectors)

    def context(self, source: Tensor, mask: Tensor, layout: Layout) -> Tensor:
        """Source and mask latents [B, T, 64] each → their part of the input tokens, [N, H].

        Both must be zero beyond each item's frames.
        """
        both = torch.cat((source, mask), dim=-1).to(self.dtype)
        weight = self._input_weight()[..., : self.config.context_channels]
        bias = self.proj_in["1"].get_parameter("bias")
        return layout.pack(F.linear(self._pairs(both), weight.flatten(1), bias))

    # --- every step ----------------------------------------------------------------------

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        modulation: tuple[Tensor, Tensor],
        cross: CrossCache,
        layout: Layout,
        guided: bool = False,
    ) -> Tensor:
        """Noisy latents x [B, T, 64] → velocity [B, T, 64]; [2, B, T, 64] when `guided`.

        Zero beyond each item's frames. `modulation` is `Modulation.at(…)`. When guided, the first
        half is under the condition, the second under the null condition or `cross.away`.
        """
        x = self._tokens(x, context, layout)
        layers, out = modulation
        rope, tokens = layout.rope, layout.tokens
        if guided:
            if cross.null is None and cross.away is None:
                raise ValueError("guided velocity without a null condition in the cache")
            # The halves differ only after the first cross-attention, but both run from the start.
            x, rope, tokens = x.repeat(2, 1), rope.repeat(2), tokens * 2

        def rows(table: Tensor) -> Tensor:
            spread = layout.spread(table)
            return spread.repeat(2, 1, 1) if guided and len(spread) > 1 else spread

        for i, layer in enumerate(self._through()):
            x = layer(
                x,
                rows(layers[:, i]).unbind(1),
                rope,
                tokens,
                cross.keys[i],
                cross.values[i],
                layout.groups,
                cross.lengths,
                cross.null[i] if guided and cross.null is not None else None,
                layout.bands,
                cross.away.layer(i) if guided and cross.away is not None else None,
            )
        out = rows(out)
        x = torch.addcmul(out[:, 0], self.norm_out(x), out[:, 1])
        x = F.linear(x, self._output_weight(), self._output_bias())
        if guided:
            return torch.stack([layout.unpack(half) for half in x.chunk(2)])
        return layout.unpack(x)

    # --- inspection ----------------------------------------------------------------------

    def queries(
        self, x: Tensor, context: Tensor, layers: Tensor, cross: CrossCache, layout: Layout
    ) -> Iterator[Tensor]:
        """The cross-attention queries of each layer that `cross` was made for, in order: normed [N,
        Hq, D]. `layers` as in `Modulation.at(…)`. Nothing is computed after the last.
        """
        x = self._tokens(x, context, layout)
        last = len(cross.keys) - 1
        for i, layer in enumerate(self._through(last + 1)):
            modulation = layout.spread(layers[:, i]).unbind(1)
            x = layer.attend_self(x, modulation[:3], layout.rope, layout.tokens, layout.bands)
            q = layer.ask(x)
            yield q
            if i < last:
                keys, values = cross.keys[i], cross.values[i]
                q = cross_attention(q, keys, values, layout.groups, cross.lengths)
                x = layer.answer(x, q)
                del q
                x = layer.feed_forward(x, *modulation[3:])

    # --- details -------------------------------------------------------------------------

    def pieces(self) -> list[tuple[nn.Module, str]]:
        """What to compile: modules and the names of their methods."""
        return [(layer, name) for layer in self._blocks() for name in layer.pieces]

    def _blocks(self) -> list[DiTLayer]:
        return [layer for layer in self.layers if isinstance(layer, DiTLayer)]

    def _tokens(self, x: Tensor, context: Tensor, layout: Layout) -> Tensor:
        """Noisy latents [B, T, 64] and their context [N, H] → the input of the first layer."""
        weight = self._input_weight()[..., self.config.context_channels :]
        return layout.pack(F.linear(self._pairs(x.to(self.dtype)), weight.flatten(1))) + context

    def _through(self, count: int | None = None) -> Iterator[DiTLayer]:
        """The first `count` blocks in order, or all; each is ready to use until the next one is
        requested."""
        for layer in islice(self.layers.through(), count):
            if not isinstance(layer, DiTLayer):
                raise TypeError(f"a {type(layer).__name__} among the blocks")
            yield layer

    def _pairs(self, x: Tensor) -> Tensor:
        """[B, T, C] → [B, S, patch·C], a zero frame appended where T is odd."""
        missing = -x.shape[1] % self.config.patch
        if missing:
            x = F.pad(x, (0, 0, 0, missing))
        return x.reshape(x.shape[0], x.shape[1] // self.config.patch, -1)

    def _input_weight(self) -> Tensor:
        """Convolution [H, C, patch] as a product over frame pairs, [H, patch, C]."""
        weight = self.proj_in["1"].get_parameter("weight")
        return weight.permute(0, 2, 1)

    def _output_weight(self) -> Tensor:
        """Transposed convolution [H, C, patch] as a product to frame pairs, [patch·C, H]."""
        weight = self.proj_out["1"].get_parameter("weight")
        return weight.permute(2, 1, 0).flatten(0, 1)

    def _output_bias(self) -> Tensor:
        return self.proj_out["1"].get_parameter("bias").repeat(self.config.patch)
