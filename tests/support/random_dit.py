"""A small DiT with drawn weights, made without a checkpoint, and a forward of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headroom.models.acestep.networks.config import AceStepConfig, BlockSizes
from headroom.models.acestep.networks.dit import CrossCache, DiT, Layout, Modulation

SIZES = BlockSizes(
    width=64, hidden=96, heads=4, kv_heads=2, head_dim=16, eps=1e-6, theta=1e6
)  # fmt: skip


def small_config(window: int = 4, layers: int = 2) -> AceStepConfig:
    return AceStepConfig(
        dit=SIZES,
        encoder=SIZES,
        dit_layers=layers,
        lyric_layers=1,
        timbre_layers=1,
        pooler_layers=1,
        windows=(window, None),
        in_channels=24,
        latent_channels=8,
        patch=2,
        text_width=32,
        timbre_frames=10,
        pool=5,
        levels=(8, 8, 8, 5, 5, 5),
        timbre_cls=False,
        turbo=True,
        stems=False,
        version="test",
    )


def random_dit(window: int = 4, device: str = "cpu", dtype: torch.dtype = torch.float32) -> DiT:
    dit = DiT(small_config(window)).to(device=device, dtype=dtype).requires_grad_(False).eval()
    if device != "meta":
        for parameter in dit.parameters():
            nn.init.normal_(parameter, std=0.15)
    return dit


def drawn(dit: DiT, *shape: int, seed: int = 0) -> Tensor:
    """Normal numbers on the DiT's device, the same for a seed; on meta only the shape."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dit.device, dit.dtype)


def inputs(
    dit: DiT, frames: Sequence[int], steps: int = 1, rows: int = 11
) -> tuple[Layout, Modulation, CrossCache, Tensor]:
    """Layout, modulation of `steps` times, cached conditions (one an item) and context."""
    width, batch = dit.config.dit.width, len(frames)
    layout = dit.layout(frames)
    modulation = dit.modulation(drawn(dit, steps, width), drawn(dit, steps, 6, width, seed=1))
    null = drawn(dit, 1, 1, width, seed=2)
    cross = dit.condition(drawn(dit, batch * rows, width, seed=3), [rows] * batch, null)
    latents = (batch, max(frames), dit.config.latent_channels)
    context = dit.context(drawn(dit, *latents, seed=4), drawn(dit, *latents, seed=5), layout)
    return layout, modulation, cross, context


def velocity(dit: DiT, frames: Sequence[int], guided: bool = False) -> Tensor:
    """One forward of drawn latents."""
    layout, modulation, cross, context = inputs(dit, frames)
    x = drawn(dit, len(frames), max(frames), dit.config.latent_channels, seed=6)
    v: Tensor = dit(x, context, modulation.at(0), cross, layout, guided)
    return v
