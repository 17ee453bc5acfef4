"""The 5 Hz audio tokenizer: latents to codes, and codes back to latents that guide the DiT."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.acestep.networks.config import CODE_FRAMES, AceStepConfig
from headroom.models.acestep.networks.encoders import Stack
from headroom.nn.fsq import FSQ


class AttentionPooler(Stack):
    """Five frames → one vector. Keys: embed_tokens, special_token, layers, norm."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__(config, config.pooler_layers)
        width = config.encoder.width
        self.embed_tokens = nn.Linear(width, width)
        self.special_token = nn.Parameter(torch.empty(1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """[G, 5, E] → [G, E]: the output row of the prepended token."""
        x = self.embed_tokens(x)
        x = torch.cat((self.special_token.expand(x.shape[0], -1, -1), x), dim=1)
        return self.run_equal(x)[:, 0]


class AudioTokenizer(nn.Module):
    """Keys: audio_acoustic_proj, attention_pooler.…, quantizer.…."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.pool = config.pool
        self.audio_acoustic_proj = nn.Linear(config.latent_channels, config.encoder.width)
        self.attention_pooler = AttentionPooler(config)
        self.quantizer = FSQ(config.encoder.width, config.levels)

    def forward(self, latents: Tensor, silence: Tensor) -> Tensor:
        """Latents [B, T, 64] → codes [B, ceil(T/5)]; the last group is filled up with the first
        frames of `silence` [1, ≥4, 64]."""
        missing = -latents.shape[1] % self.pool
        if missing:
            tail = silence[:, :missing].to(latents).expand(latents.shape[0], -1, -1)
            latents = torch.cat((latents, tail), dim=1)
        groups = self.audio_acoustic_proj(latents).unflatten(1, (-1, self.pool))
        pooled = self.attention_pooler(groups.flatten(0, 1))
        return self.quantizer.encode(pooled).view(groups.shape[:2])


class AudioDetokenizer(Stack):
    """Keys: embed_tokens, special_tokens, layers, norm, proj_out."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__(config, config.pooler_layers)
        width = config.encoder.width
        self.embed_tokens = nn.Linear(width, width)
        self.special_tokens = nn.Parameter(torch.empty(1, config.pool, width))
        self.proj_out = nn.Linear(width, config.latent_channels)

    def forward(self, quantised: Tensor) -> Tensor:
        """Quantised vectors [B, N, E] → latents [B, 5·N, 64]."""
        batch, count, _ = quantised.shape
        x = self.embed_tokens(quantised).flatten(0, 1).unsqueeze(1) + self.special_tokens
        y: Tensor = self.proj_out(self.run_equal(x))
        return y.view(batch, count * self.special_tokens.shape[1], -1)


def hints(
    codes: Tensor, quantizer: FSQ, detokenizer: AudioDetokenizer, frames: int, silence: Tensor
) -> Tensor:
    """Codes [B, N] → source latents [B, frames, 64], cut, or padded with `silence` from its first
    frame.
    """
    latents = detokenizer(quantizer.decode(codes))
    missing = frames - codes.shape[1] * CODE_FRAMES
    if missing > 0:
        tail = silence[:, :missing].to(latents).expand(latents.shape[0], -1, -1)
        latents = torch.cat((latents, tail), dim=1)
    return F.pad(latents, (0, 0, 0, max(0, frames - latents.shape[1])))[:, :frames]


class CodesNetwork(nn.Module):
    """Both directions between latents and 5 Hz codes. Keys: tokenizer.…, detokenizer.…."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.tokenizer = AudioTokenizer(config)
        self.detokenizer = AudioDetokenizer(config)
