"""The DiT's conditions: caption, lyrics and timbre as one packed sequence of vectors per song.

Order within a song: lyric rows, timbre rows, caption rows. Lyrics pass through only the text
encoder's embedding table; captions through the whole encoder. A timbre reference becomes its first
output row, not a mean: on 2B that is the first latent frame, on XL a learned CLS token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from headroom.hardware.machine import DType
from headroom.models.acestep.networks.config import AceStepConfig, BlockSizes, TextEncoderConfig
from headroom.nn.blocks import Blocks
from headroom.nn.norm import RMSNorm
from headroom.nn.qwen3 import Layer, LayerSizes, Qwen3, run_layers

DTYPES: Mapping[DType, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def layer_sizes(sizes: BlockSizes) -> LayerSizes:
    """The sizes in the config, in the form the shared layers take."""
    return LayerSizes(
        sizes.width,
        sizes.hidden,
        sizes.heads,
        sizes.kv_heads,
        sizes.head_dim,
        sizes.eps,
        sizes.theta,
    )


def text_encoder(config: TextEncoderConfig) -> Qwen3:
    """The Qwen3 text encoder of a folder."""
    return Qwen3(layer_sizes(config.sizes), config.layers, config.vocabulary)


class Stack(nn.Module):
    """Bidirectional Qwen3 layers with windowed even layers. Keys: layers.{i}.…, norm."""

    def __init__(self, config: AceStepConfig, layers: int) -> None:
        super().__init__()
        self.sizes = layer_sizes(config.encoder)
        self.windows = config.layer_windows(layers)
        self.layers = Blocks(Layer(self.sizes) for _ in range(layers))
        self.norm = RMSNorm(config.encoder.width, config.encoder.eps)

    def run(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """Packed x [N, E] → normed [N, E]."""
        y: Tensor = self.norm(run_layers(self.layers, x, lengths, self.sizes, windows=self.windows))
        return y

    def run_equal(self, x: Tensor) -> Tensor:
        """x [B, S, E] → normed [B, S, E]."""
        return self.run(x.flatten(0, 1), (x.shape[1],) * x.shape[0]).view_as(x)


class LyricEncoder(Stack):
    """Token embeddings of lyrics → rows. Keys: embed_tokens, layers, norm."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__(config, config.lyric_layers)
        self.embed_tokens = nn.Linear(config.text_width, config.encoder.width)

    def forward(self, embeddings: Tensor, lengths: Sequence[int]) -> Tensor:
        """Packed [N, text_width] → [N, E]."""
        return self.run(self.embed_tokens(embeddings), lengths)


class TimbreEncoder(Stack):
    """Reference latents → one vector each. Keys: embed_tokens, special_token, layers, norm."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__(config, config.timbre_layers)
        self.cls = config.timbre_cls
        self.embed_tokens = nn.Linear(config.latent_channels, config.encoder.width)
        self.special_token = (
            nn.Parameter(torch.empty(1, 1, config.encoder.width)) if self.cls else None
        )

    def forward(self, latents: Tensor) -> Tensor:
        """[R, frames, 64] → [R, E]: row 0 of each sequence."""
        x = self.embed_tokens(latents)
        if self.special_token is not None:
            x = torch.cat((self.special_token.expand(x.shape[0], -1, -1), x), dim=1)
        return self.run_equal(x)[:, 0]


class ConditionEncoder(nn.Module):
    """Keys: text_projector, lyric_encoder.…, timbre_encoder.…."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.text_projector = nn.Linear(config.text_width, config.encoder.width, bias=False)
        self.lyric_encoder = LyricEncoder(config)
        self.timbre_encoder = TimbreEncoder(config)

    def forward(
        self,
        text: Tensor,
        text_lengths: Sequence[int],
        lyrics: Tensor,
        lyric_lengths: Sequence[int],
        timbre: Tensor,
        references: Sequence[int],
    ) -> tuple[Tensor, tuple[int, ...]]:
        """Packed text [ΣLt, W], packed lyric embeddings [ΣLl, W], timbre latents [R, F, 64].

        `references[i]` says how many of the timbre references belong to item i.
        Returns packed rows [Σ(Ll + n + Lt), E] and the number of rows of each item.
        """
        parts = (
            self.lyric_encoder(lyrics, lyric_lengths).split(list(lyric_lengths)),
            self.timbre_encoder(timbre).split(list(references)),
            self.text_projector(text).split(list(text_lengths)),
        )
        items = [torch.cat(rows) for rows in zip(*parts, strict=True)]
        return torch.cat(items), tuple(len(rows) for rows in items)


class Conditioner(nn.Module):
    """The condition encoder and the learned null condition. Keys: encoder.…, null_condition_emb."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.encoder = ConditionEncoder(config)
        self.null_condition_emb = nn.Parameter(torch.empty(1, 1, config.encoder.width))


def module_dtype(module: nn.Module) -> torch.dtype:
    """The type a module computes in: that of its weights."""
    return next(module.parameters()).dtype
