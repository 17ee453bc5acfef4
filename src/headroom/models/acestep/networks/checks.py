"""Checks that a model's folders fit together, made before it is opened. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headroom.errors import InvalidCheckpoint
from headroom.models.acestep.networks.config import (
    HOP,
    SAMPLE_RATE,
    AceStepConfig,
    TextEncoderConfig,
    dit_config,
    text_encoder_config,
)
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.variants import variant_of
from headroom.nn.config_fields import read_config
from headroom.nn.oobleck_layout import OobleckConfig
from headroom.params.clamp import Note
from headroom.weights.header import name_of

CHANNELS = 2  # audio channels of a song
_NAMED = 3  # tensors named in a note


def read_sizes(
    folder: Path, text_folder: Path, vae_folder: Path
) -> tuple[AceStepConfig, TextEncoderConfig, OobleckConfig]:
    """The sizes that the three folders of a model state, checked for fitting together.

    Raises InvalidCheckpoint, also for invalid statements about the variant.
    """
    raw = read_config(folder)
    variant_of(raw, folder)
    config = dit_config(raw, folder)
    text = text_encoder_config(read_config(text_folder), text_folder)
    vae = OobleckConfig.read(vae_folder)
    check_latents(config, vae, vae_folder)
    check_text(config, text, text_folder)
    return config, text, vae


def check_latents(config: AceStepConfig, vae: OobleckConfig, folder: Path) -> None:
    """Raise InvalidCheckpoint if the VAE does not fit the DiT's latents."""
    pairs = (
        ("decoder_input_channels", vae.latent_channels, config.latent_channels),
        ("samples a latent frame", vae.hop, HOP),
        ("sampling_rate", vae.sample_rate, SAMPLE_RATE),
        ("audio_channels", vae.audio_channels, CHANNELS),
    )
    faults = [_other(name, value, needed) for name, value, needed in pairs if value != needed]
    if faults:
        raise InvalidCheckpoint(folder, faults)


def check_text(config: AceStepConfig, text: TextEncoderConfig, folder: Path) -> None:
    """Raise InvalidCheckpoint if the DiT cannot take the text encoder's output."""
    if text.sizes.width != config.text_width:
        raise InvalidCheckpoint(
            folder, [_other("hidden_size", text.sizes.width, config.text_width)]
        )


def spare_note(folder: Path, names: Sequence[str]) -> Note:
    """A note that a folder's file holds tensors that no network here needs."""
    first = ", ".join(name_of(name) for name in names[:_NAMED])
    why = reason("weights_unneeded", names=first)
    if len(names) > _NAMED:
        why = reason("weights_unneeded_and_more", names=first, more=len(names) - _NAMED)
    count = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    return Note("weights", f"{count} of {folder.name}", None, why)


def _other(name: str, value: int, needed: int) -> str:
    return f"config.json: {name} is {value}; the DiT needs {needed}"
