"""A denoising run with everything drawn, on any device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gpu_check.bench import normal
from headroom.diffusion.schedule import Schedule, turbo
from headroom.models.acestep.networks.dit import CrossCache, DiT, Layout, Modulation
from headroom.models.acestep.rendering.render import Branch, integrate
from headroom.models.acestep.song.song import SamplerSettings

PLAIN = SamplerSettings(
    times=turbo(8, 3.0).times,
    method="ode",
    solver="euler",
    turbo=True,
    guidance=1.0,
    guidance_variant="apg",
    guided=(True,) * 9,
    norm_clamp=0.0,
    ema=0.0,
    wavelet=None,
    switch=8,
    start_from_source=False,
    repainting=None,
    noise="headroom",
)
METHODS = {
    "euler": PLAIN,
    "sde": replace(PLAIN, method="sde"),
    "heun": replace(PLAIN, solver="heun"),
    "apg": replace(PLAIN, guidance=4.0, turbo=False),
    "adg": replace(PLAIN, guidance=4.0, turbo=False, guidance_variant="adg"),
}


def given(dit: DiT, *shape: int, seed: int, scale: float = 1.0) -> Tensor:
    """Drawn numbers where and as the DiT computes."""
    return (normal(*shape, seed=seed) * scale).to(dit.device, dit.dtype)


def prepared(
    dit: DiT, frames: int, rows: int, times: int
) -> tuple[Layout, Modulation, CrossCache, Tensor]:
    """What a request prepares before its first step."""
    width, latent = dit.config.dit.width, dit.config.latent_channels
    layout = dit.layout([frames])
    e, m = given(dit, times, width, seed=1, scale=0.3), given(dit, times, 6, width, seed=2)
    null = given(dit, 1, 1, dit.config.encoder.width, seed=3)
    cross = dit.condition(given(dit, rows, dit.config.encoder.width, seed=4), [rows], null)
    source, mask = (given(dit, 1, frames, latent, seed=s) for s in (5, 6))
    return layout, dit.modulation(e, m * 0.3), cross, dit.context(source, mask, layout)


def denoise(
    dit: DiT, sampling: SamplerSettings, schedule: Schedule, where: torch.device, frames: int
) -> Tensor:
    layout, modulation, cross, context = prepared(dit, frames, 100, schedule.steps + 1)
    branch = Branch(dit, cross, context, modulation, layout)
    shape = (1, frames, dit.config.latent_channels)
    return integrate(
        sampling,
        schedule,
        branch,
        branch,
        normal(*shape, seed=7).to(where),
        correct=(),
        fresh=lambda k: normal(*shape, seed=100 + k).to(where),
    )


def one_step(dit: DiT, seconds: int, rows: int, guided: bool = False) -> Callable[[], Tensor]:
    """One velocity of a song of so many seconds, with all that is prepared before it done."""
    frames = seconds * 25
    with torch.inference_mode():
        layout, modulation, cross, context = prepared(dit, frames, rows, 1)
        x = given(dit, 1, frames, dit.config.latent_channels, seed=9).float()

    def work() -> Tensor:
        with torch.inference_mode():
            velocity: Tensor = dit(x, context, modulation.at(0), cross, layout, guided)
        return velocity

    return work
