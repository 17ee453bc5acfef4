"""Sizes of the released networks, for work that needs no weights: plans, simulated runs. No torch.

Source: config.json of the released folders. What only training reads is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from headroom.models.acestep.networks.config import (
    AceStepConfig,
    TextEncoderConfig,
    dit_config,
    text_encoder_config,
)
from headroom.models.acestep.requests.variants import Variant
from headroom.nn.oobleck_layout import OobleckConfig

Raw = Mapping[str, object]

DIT_2B: Raw = MappingProxyType(
    {
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    }
)
DIT_XL: Raw = MappingProxyType(
    {
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "encoder_hidden_size": 2048,
        "encoder_intermediate_size": 6144,
        "encoder_num_attention_heads": 16,
        "encoder_num_key_value_heads": 8,
    }
)
TEXT: Raw = MappingProxyType(
    {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151_669,
    }
)
_LM: Raw = MappingProxyType(
    {"num_key_value_heads": 8, "head_dim": 128, "rope_theta": 1_000_000, "vocab_size": 217_204}
)
LMS: Mapping[str, Raw] = MappingProxyType(
    {
        size: MappingProxyType(
            {
                **_LM,
                "hidden_size": width,
                "intermediate_size": hidden,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
            }
        )
        for size, width, hidden, layers, heads in (
            ("0.6B", 1024, 3072, 28, 16),
            ("1.7B", 2048, 6144, 28, 16),
            ("4B", 2560, 9728, 36, 32),
        )
    }
)
VAE: Raw = MappingProxyType(
    {
        "encoder_hidden_size": 128,
        "downsampling_ratios": [2, 4, 4, 6, 10],
        "channel_multiples": [1, 2, 4, 8, 16],
        "decoder_channels": 128,
        "decoder_input_channels": 64,
        "audio_channels": 2,
        "sampling_rate": 48_000,
    }
)


def released_size(config: AceStepConfig, text: TextEncoderConfig, vae: OobleckConfig) -> str | None:
    """`2b` or `xl`, if all sizes are the released ones; else None."""
    if text != released_text_encoder() or vae != released_vae():
        return None
    for name, raw in (("2b", DIT_2B), ("xl", DIT_XL)):
        ours = dit_config(raw)
        like = replace(config, turbo=ours.turbo, stems=ours.stems, version=ours.version)
        if like == ours:
            return name
    return None


def released_dit(variant: Variant) -> AceStepConfig:
    """The sizes of a released variant's DiT folder."""
    raw = {**(DIT_XL if variant.large else DIT_2B), "is_turbo": variant.kind == "turbo"}
    return dit_config({**raw, "model_version": variant.kind})


def released_text_encoder() -> TextEncoderConfig:
    """The sizes of the text encoder that all released variants use."""
    return text_encoder_config(TEXT)


def released_lm(size: str) -> TextEncoderConfig:
    """The sizes of a planner language model: 0.6B, 1.7B or 4B. Raises KeyError."""
    return text_encoder_config(LMS[size])


def lm_size_of(config: TextEncoderConfig) -> str | None:
    """Which of the released language models has these sizes; None: none of them."""
    return next((size for size in LMS if released_lm(size) == config), None)


def released_vae() -> OobleckConfig:
    """The sizes of the VAE that all released variants use."""
    return OobleckConfig.parse(dict(VAE))
