"""The networks of a checkpoint as diffusers and transformers build them, with drawn weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from support.tiny import POOL, DitSizes, TextSizes, VaeSizes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of diffusers and transformers, at import
    from diffusers import AceStepTransformer1DModel, AutoencoderOobleck
    from diffusers.pipelines.ace_step.modeling_ace_step import (
        AceStepAudioTokenDetokenizer,
        AceStepAudioTokenizer,
        AceStepConditionEncoder,
    )
    from transformers import Qwen3Config, Qwen3Model

RENAMES = (
    ("to_q.", "q_proj."),
    ("to_k.", "k_proj."),
    ("to_v.", "v_proj."),
    ("to_out.0.", "o_proj."),
    ("norm_q.", "q_norm."),
    ("norm_k.", "k_norm."),
    ("proj_in_conv.", "proj_in.1."),
    ("proj_out_conv.", "proj_out.1."),
)


@dataclass(frozen=True, slots=True)
class Networks:
    """The four networks of a DiT folder, as diffusers builds them."""

    dit: Any
    condition: Any
    tokenizer: Any
    detokenizer: Any


def build_networks(sizes: DitSizes) -> Networks:
    """Unrandomised; under `torch.device("meta")` also at the released sizes."""
    width, hidden, heads, kv_heads = sizes.encoder
    latent = sizes.audio_acoustic_hidden_dim
    shared: dict[str, Any] = {"head_dim": sizes.head_dim, "sliding_window": sizes.sliding_window}
    encoder = shared | {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
    }
    pooler = sizes.num_attention_pooler_hidden_layers
    dit = AceStepTransformer1DModel(
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.num_hidden_layers,
        num_attention_heads=sizes.num_attention_heads,
        num_key_value_heads=sizes.num_key_value_heads,
        in_channels=3 * latent,
        audio_acoustic_hidden_dim=latent,
        encoder_hidden_size=width,
        **shared,
    )
    condition = AceStepConditionEncoder(
        text_hidden_dim=sizes.text_hidden_dim,
        timbre_hidden_dim=latent,
        num_lyric_encoder_hidden_layers=sizes.num_lyric_encoder_hidden_layers,
        num_timbre_encoder_hidden_layers=sizes.num_timbre_encoder_hidden_layers,
        **encoder,
    )
    tokenizer = AceStepAudioTokenizer(
        audio_acoustic_hidden_dim=latent,
        pool_window_size=POOL,
        fsq_dim=sizes.fsq_dim,
        fsq_input_levels=list(sizes.fsq_input_levels),
        num_attention_pooler_hidden_layers=pooler,
        **encoder,
    )
    detokenizer = AceStepAudioTokenDetokenizer(
        audio_acoustic_hidden_dim=latent,
        pool_window_size=POOL,
        num_attention_pooler_hidden_layers=pooler,
        **encoder,
    )
    return Networks(dit, condition, tokenizer, detokenizer)


def build_vae(sizes: VaeSizes) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # weight_norm's own
        vae: nn.Module = AutoencoderOobleck(
            encoder_hidden_size=sizes.encoder_hidden_size,
            downsampling_ratios=list(sizes.downsampling_ratios),
            channel_multiples=list(sizes.channel_multiples),
            decoder_channels=sizes.decoder_channels,
            decoder_input_channels=sizes.decoder_input_channels,
            audio_channels=sizes.audio_channels,
            sampling_rate=sizes.sampling_rate,
        )
    return vae


def build_text(sizes: TextSizes) -> nn.Module:
    config = Qwen3Config(
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.num_hidden_layers,
        num_attention_heads=sizes.num_attention_heads,
        num_key_value_heads=sizes.num_key_value_heads,
        head_dim=sizes.head_dim,
        vocab_size=sizes.vocab_size,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        attn_implementation="sdpa",
    )
    model: nn.Module = Qwen3Model(config)
    return model


def randomise(module: nn.Module, generator: torch.Generator, dtype: torch.dtype) -> None:
    """Draw every parameter, rounded to `dtype`; the module itself stays fp32."""

    def uniform(shape: torch.Size, reach: float) -> Tensor:
        return (2 * torch.rand(shape, generator=generator) - 1) * reach

    state = module.state_dict()
    for name, value in state.items():
        leaf, shape = name.rpartition(".")[2], value.shape
        if leaf == "weight_g":
            continue  # follows its weight_v
        if leaf in ("alpha", "beta"):
            new = uniform(shape, 0.2)
        elif "norm" in name and value.ndim == 1:
            new = 1 + uniform(shape, 0.2)
        elif leaf == "bias":
            new = uniform(shape, 0.3)
        elif leaf == "scale_shift_table":
            new = uniform(shape, 0.5)
        elif leaf in ("weight", "weight_v"):
            new = torch.randn(shape, generator=generator) / _fan_in(name, shape) ** 0.5
            if "quantizer.project_in" in name:
                new *= 3  # so that every level of the grid occurs
            if "embed_tokens" in name and "layers" not in name and shape[0] > 256:
                new = torch.randn(shape, generator=generator)
        else:  # special tokens, the null condition, the silence latent
            new = torch.randn(shape, generator=generator)
            if "attention_pooler" in name:
                new *= 0.3  # a smaller share of the pooled row, so that codes differ
        value.copy_(new.to(dtype))
        if leaf == "weight_v":
            norm = value.flatten(1).norm(dim=1).view(state[name[:-1] + "g"].shape)
            gain = _vae_gain(name) * (1 + uniform(norm.shape, 0.2))
            state[name[:-1] + "g"].copy_((norm * gain).to(dtype))


def _vae_gain(name: str) -> float:
    """Keeps what 15 residual units add up to near one, so that a tolerance means something."""
    if "res_unit" in name:
        return 0.5 if "conv1" in name else 0.25
    return 0.3 if name == "decoder.conv2.weight_v" else 0.6


def _fan_in(name: str, shape: torch.Size) -> int:
    if "proj_out_conv" in name:
        return shape[0]  # kernel = stride: one tap an output
    if "conv_t1" in name:
        return 2 * shape[0]  # kernel = 2 · stride: two taps an output
    return prod(shape[1:])


def official_state(networks: Networks) -> dict[str, Tensor]:
    """Every tensor of a DiT folder's safetensors, under its official name."""
    parts = (
        ("decoder.", networks.dit),
        ("encoder.", networks.condition),
        ("tokenizer.", networks.tokenizer),
        ("detokenizer.", networks.detokenizer),
    )
    state: dict[str, Tensor] = {}
    for prefix, module in parts:
        for name, value in module.state_dict().items():
            if name == "silence_latent":
                continue
            for ours, theirs in RENAMES:
                name = name.replace(ours, theirs)
            state[name if name == "null_condition_emb" else prefix + name] = value
    return state


def load_official(networks: Networks, state: Mapping[str, Tensor]) -> None:
    """Fill the networks from tensors under their official names; every name must be used."""
    own = official_state(networks)
    if own.keys() != state.keys():
        raise AssertionError(f"names differ: {sorted(own.keys() ^ state.keys())}")
    for name, value in own.items():
        if value.shape != state[name].shape:
            raise AssertionError(f"{name}: {state[name].shape}, needed {value.shape}")
        value.copy_(state[name])
