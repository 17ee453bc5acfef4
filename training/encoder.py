#!/usr/bin/env python3
"""Train the nano VAE's encoder: `python training/encoder.py --out FOLDER`; `--toy` takes seconds.

It learns to make of sound the computed latents (`latents.py`), which the decoder and the DiT are
trained with, by convolutions alone, as the product needs them. Called again with the same folder it
goes on where it stopped, and comes to the same weights as if it had not stopped.

FOLDER/state.pt      everything needed to go on
FOLDER/curve.jsonl   a line an evaluation, of songs never trained on, see `Figures`
FOLDER/vae/          averaged weights in the official layout, encoder only
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import vae
from latents import HOP, LATENT, WAVE, Analysis
from loop import Loop
from music.piece import compose
from music.render import render
from oobleck import nano_config
from oobleck_encoder import Encoder, official, start_from_analysis

DECIBELS = 20 / math.log(10)  # of a natural logarithm of amplitude


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained and for how long. A folder belongs to one recipe."""

    width: int = 24  # narrower ones have no room for the wave and start at random
    steps: int = 1500
    rate: float = 1e-3
    batch: int = 3
    frames: int = 16  # of a crop whose latents are compared
    margin: int = 4  # frames heard beyond it on each side
    song_seconds: float = 8.0
    song_steps: int = 8  # steps that the same songs are used for
    unseen_songs: int = 12
    every: int = 100
    seed: int = 1

    @classmethod
    def toy(cls) -> Recipe:
        """So small that a test runs it."""
        return cls(
            width=2, steps=4, batch=1, frames=6, margin=1, song_seconds=1.0, 
            unseen_songs=1, every=2,
        )  # fmt: skip

    @property
    def decoding(self) -> vae.Recipe:
        """The decoder's recipe with the same songs."""
        return vae.Recipe(
            batch=self.batch, frames=self.frames, margin=self.margin, seed=self.seed,
            song_seconds=self.song_seconds, song_steps=self.song_steps,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figures:
    """Of unseen songs.

    wave_db    what the latents of the wave are above their error, the median of all 48
    weakest_db the worst of the 48
    bands_db   error of the bands' levels, root mean square
    """

    wave_db: float
    weakest_db: float
    bands_db: float


class Training(Loop[Recipe, Encoder]):
    """The training of an encoder."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.analysis = Analysis.usual()
        encoder, averaged = Encoder(recipe.width), Encoder(recipe.width)
        if 4 * recipe.width >= WAVE and not (out / "state.pt").exists():
            start_from_analysis(encoder, self.analysis, recipe.seed)
        optimizer = torch.optim.Adam(encoder.parameters(), betas=(0.8, 0.99))
        super().__init__(recipe, out, encoder, averaged, optimizer)
        self.songs = vae.Songs(recipe.decoding, self.analysis)

    def crops(self) -> tuple[Tensor, Tensor]:
        """Sound [B, 2, n] with margins, and the latents [B, 64, frames] between them."""
        recipe = self.recipe
        first = recipe.seed * 1_000_000 + self.step // recipe.song_steps * recipe.batch
        draw = np.random.default_rng((recipe.seed, self.step))
        sounds, wanted = [], []
        for seed in range(first, first + recipe.batch):
            latents, sound = self.songs.song(seed)
            length = recipe.frames + 2 * recipe.margin
            start = int(draw.integers(latents.shape[1] - length + 1))
            begin = start + recipe.margin
            sounds.append(sound[:, start * HOP : (start + length) * HOP])
            wanted.append(latents[:, begin : begin + recipe.frames])
        return torch.from_numpy(np.stack(sounds)), torch.from_numpy(np.stack(wanted))

    def loss(self) -> Tensor:
        sounds, wanted = self.crops()
        margin = self.recipe.margin
        made = self.trained(sounds)[..., margin:-margin]
        return (made - wanted).square().mean()

    @torch.no_grad()
    def figures(self) -> Figures:
        power, error = np.zeros(LATENT), np.zeros(LATENT)
        for seed in range(vae.UNSEEN_FIRST, vae.UNSEEN_FIRST + self.recipe.unseen_songs):
            sound = render(compose(seed, self.recipe.song_seconds)).mix
            real = self.analysis.latents(sound)
            made = self.averaged(torch.from_numpy(sound)[None])[0].numpy()
            power += np.square(real).mean(axis=1) / self.recipe.unseen_songs
            error += np.square(made - real).mean(axis=1) / self.recipe.unseen_songs
        above = 10 * np.log10(power[:WAVE] / error[:WAVE])
        spread = self.analysis.level_spread * DECIBELS
        bands = float(np.sqrt((error[WAVE:] * np.square(spread)).mean()))
        found = float(np.median(above)), float(above.min()), bands
        return Figures(*(round(value, 2) for value in found))

    def write(self) -> None:
        write(self.averaged.state_dict(), self.out / "vae")


def write(narrow: dict[str, Tensor], folder: Path) -> None:
    """The encoder with these weights in the official layout, bfloat16."""
    config = nano_config(vae.Recipe().width)
    vae.write_half("encoder", official(narrow, config.encoder_width), config, folder)


def main(arguments: list[str] | None = None) -> int:
    usual = Recipe()
    flags = vae.parser("encoder", usual, "channels at 48 kHz")
    asked = flags.parse_args(arguments)
    recipe = Recipe(width=asked.width, steps=asked.steps, seed=asked.seed)
    Training(Recipe.toy() if asked.toy else recipe, asked.out).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
