"""The real 2B networks twice over one set of random weights: diffusers' modules and ours.

Both compute with the very same tensors, so a process holds them once. Weights are a block of
normal numbers repeated, scaled by fan-in; their values do not matter to the time.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from headroom.models.acestep.networks import released
from headroom.models.acestep.networks.config import dit_config, text_encoder_config
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.networks.encoders import Conditioner, text_encoder
from headroom.models.acestep.networks.released import DIT_2B
from headroom.nn.oobleck import Decoder, FoldedKeys
from headroom.nn.oobleck_layout import OobleckConfig

DIT = {**DIT_2B, "is_turbo": True, "model_version": "turbo"}
TEXT, VAE = dict(released.TEXT), dict(released.VAE)
_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class Pair:
    """One network: the peer's module and ours."""

    peer: Any
    ours: Any


class Weights:
    """Random tensors, quickly."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0))

    def like(self, name: str, value: Tensor) -> Tensor:
        leaf = name.rpartition(".")[2]
        if value.ndim == 1 and "norm" in name:
            return torch.ones(value.shape, dtype=self.dtype)
        if leaf in ("bias", "alpha", "beta", "scale_shift_table"):
            return torch.zeros(value.shape, dtype=self.dtype)
        if leaf == "weight_g":
            return torch.full(value.shape, 0.3, dtype=self.dtype)
        flat = torch.empty(value.numel(), dtype=self.dtype)
        scale = prod(value.shape[1:]) ** -0.5
        for start in range(0, flat.numel(), _BLOCK):
            part = flat[start : start + _BLOCK]
            part.copy_(self.block[: part.numel()]).mul_(scale)
        return flat.view(value.shape)

    def fill(self, module: nn.Module) -> None:
        """Every parameter and persistent buffer of a module on meta."""
        state = {name: self.like(name, value) for name, value in module.state_dict().items()}
        module.load_state_dict(state, assign=True)
        module.requires_grad_(False).eval()


def networks(dtype: torch.dtype, whole: bool) -> dict[str, Pair]:
    """`dit` (ours: DiT and TimePath), and with `whole` also `condition`, `text` and `vae`."""
    from support.networks import build_networks, build_text, build_vae, official_state
    from support.tiny import REAL_2B, TextSizes, VaeSizes

    weights = Weights(dtype)
    config = dit_config(DIT)
    with torch.device("meta"):
        peers = build_networks(REAL_2B)
        dit, time, conditioner = DiT(config), TimePath(config.dit.width), Conditioner(config)
    wanted = (peers.dit, peers.condition) if whole else (peers.dit,)
    for module in wanted:
        weights.fill(module)
    state = official_state(peers)
    _adopt(dit, state, "decoder.")
    _adopt(time, state, "decoder.")
    found = {"dit": Pair(peers.dit, dit), "time": Pair(None, time)}
    if not whole:
        return found
    _adopt(conditioner, state, "")
    found["condition"] = Pair(peers.condition, conditioner)
    sizes = text_encoder_config(TEXT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = build_text(TextSizes(**TEXT)).to(dtype)
        with torch.device("meta"):
            vae = build_vae(VaeSizes(**VAE))
    weights.fill(vae)
    with torch.device("meta"):
        reader = text_encoder(sizes)
    _adopt(reader, dict(text.state_dict()), "")
    found["text"] = Pair(text, reader)
    found["vae"] = Pair(vae, decoder_of(vae, dtype))
    return found


def decoder_of(vae: nn.Module, dtype: torch.dtype) -> Decoder:
    """Our decoder over the peer's weights, folded."""
    with torch.device("meta"):
        decoder = Decoder(OobleckConfig.parse(VAE))
    keys, state = FoldedKeys("decoder."), vae.state_dict()
    built = {
        name: keys.build(name, *(state[key] for key in keys.needs(name))).to(dtype)
        for name in decoder.state_dict()
    }
    decoder.load_state_dict(built, assign=True)
    return decoder.requires_grad_(False).eval()


def _adopt(module: nn.Module, state: dict[str, Tensor], prefix: str) -> None:
    own = {name: state[prefix + name] for name in module.state_dict()}
    module.load_state_dict(own, assign=True)
    module.requires_grad_(False).eval()
