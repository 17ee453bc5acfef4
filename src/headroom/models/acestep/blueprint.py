"""A released model without its weights: every network at its real size, with no values.

On a simulated device with fake tensors it runs a whole request; everything but the sound is as in a
real run. Text is read with the bundled tokenizer, whose tokens are shorter than the released one's,
so a text has at least as many tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from headroom.hardware.machine import DType, computing_dtype
from headroom.models.acestep.catalogue import BUNDLED
from headroom.models.acestep.catalogue import TEXT_ENCODER as TEXT_FOLDER
from headroom.models.acestep.model import AceStep
from headroom.models.acestep.networks.codes import CodesNetwork
from headroom.models.acestep.networks.component_names import (
    CODES,
    CONDITIONER,
    DIT,
    TEXT_ENCODER,
    TIME,
    VAE_DECODER,
    VAE_ENCODER,
)
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.networks.encoders import DTYPES, Conditioner, layer_sizes, text_encoder
from headroom.models.acestep.networks.released import (
    released_dit,
    released_lm,
    released_text_encoder,
    released_vae,
)
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.rendering.assets import Assets
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.text.prompts import PromptTokenizer
from headroom.models.base import Loader, Setup
from headroom.nn.causal import CausalLM
from headroom.nn.oobleck import Decoder, Encoder
from headroom.params.clamp import Note
from headroom.weights.meta_modules import shapes_only

SILENCE_FRAMES = 15_000


class Blueprint(AceStep):
    """A released variant, by name. Raises KeyError for any other name."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.name, self.bundled = name, False
        self.variant = VARIANTS[name]
        self.dtype = computing_dtype(setup.dtype, setup.machine)
        self.compile = False
        self.device = setup.device.torch
        self.config = released_dit(self.variant)
        self.text_config, self.vae_config = released_text_encoder(), released_vae()

    @property
    def notes(self) -> tuple[Note, ...]:
        return (Note("model", self.name, "its sizes alone", reason("no_weights_here")),)

    def folders(self) -> tuple[Path, ...]:
        return ()

    def loaders(self) -> Mapping[str, Loader]:
        c, vae = self.config, self.vae_config
        built: Mapping[str, Callable[[], nn.Module]] = {
            TEXT_ENCODER: lambda: text_encoder(self.text_config),
            CONDITIONER: lambda: Conditioner(c),
            CODES: lambda: CodesNetwork(c),
            TIME: lambda: TimePath(c.dit.width),
            DIT: lambda: DiT(c),
            VAE_ENCODER: lambda: Encoder(vae),
            VAE_DECODER: lambda: Decoder(vae),
        }
        return {name: partial(_empty, build, DTYPES[self.dtype]) for name, build in built.items()}

    @cached_property
    def assets(self) -> Assets:
        silence = torch.zeros(1, SILENCE_FRAMES, self.config.latent_channels)
        tokenizer = PromptTokenizer.open(BUNDLED / TEXT_FOLDER)
        return Assets(self.config, silence, tokenizer)


def language_model(size: str, dtype: DType) -> nn.Module:
    """A released planner language model without values. Raises KeyError for any other size."""
    config = released_lm(size)
    return _empty(
        lambda: CausalLM(layer_sizes(config.sizes), config.layers, config.vocabulary),
        DTYPES[dtype],
    )


def _empty(build: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    with shapes_only():
        return build().to(dtype).requires_grad_(False).eval()
