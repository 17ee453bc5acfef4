#!/usr/bin/env python3
"""Train the nano VAE's decoder: `python training/vae.py --out FOLDER`; `--toy` takes seconds.

The latents it reads are computed (`latents.py`), so it needs no encoder. Its weights start as the
inverse of that computation; training adds what the arithmetic cannot. Called again with the same
folder it goes on where it stopped, and comes to the same weights as if it had not stopped.

FOLDER/state.pt      everything needed to go on
FOLDER/curve.jsonl   a line an evaluation: step, CPU seconds, loss, and two figures of unseen songs:
                     signal-to-distortion (dB, higher is better), log-spectral distance (dB, lower)
FOLDER/vae/          averaged weights in the official layout, decoder only
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

import loop
from headroom.nn.oobleck_layout import OobleckConfig
from latents import HOP, LATENT, Analysis, Singles
from loop import Loop
from music.piece import RATE, compose
from music.render import Stereo, render
from oobleck import Decoder, nano_config, start_from_inverse

UNSEEN_FIRST = 900_000_000  # seeds from here on are never trained on
STFT_SIZES = (256, 512, 1024, 2048, 4096)
BAND_SIZES = (512, 2048)  # of the spectra whose bands are compared
BANDS, LOWEST, HIGHEST = 64, 60.0, 16_000.0  # Hz
BANDS_WEIGHT = 1.5


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained and for how long. A folder belongs to one recipe."""

    width: int = 16  # narrower decoders start at random
    steps: int = 6000
    rate: float = 1.5e-3
    batch: int = 3
    frames: int = 16  # of a crop that is compared
    margin: int = 4  # frames read beyond it on each side
    song_seconds: float = 8.0
    song_steps: int = 8  # steps that the same songs are used for
    unseen_songs: int = 6
    every: int = 100  # steps between evaluations and savings
    seed: int = 1

    @classmethod
    def toy(cls) -> Recipe:
        """So small that a test runs it."""
        return cls(
            width=2, steps=4, batch=1, frames=6, margin=1, song_seconds=1.0, 
            unseen_songs=1, every=2,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of unseen songs in dB."""

    distortion_db: float
    spectral_db: float


def distance(made: Tensor, real: Tensor) -> Tensor:
    """Of sounds [B, 2, n]: spectra at several sizes, middle and side, the levels of bands, and the
    wave itself. Spectra alone let the levels sink where the lines of a tone cannot be hit; an
    instrument is known by its levels."""
    both = torch.cat([_middle_and_side(made), _middle_and_side(real)])
    total = F.l1_loss(made, real) * 10
    for size in STFT_SIZES:
        if size > both.shape[1]:
            continue
        window = torch.hann_window(size, device=both.device)
        complex_ = torch.stft(both, size, size // 4, window=window, return_complex=True)
        ours, theirs = (complex_.abs() / math.sqrt(size)).chunk(2)
        apart = torch.linalg.vector_norm(ours - theirs) / torch.linalg.vector_norm(theirs)
        logs = F.l1_loss((ours + 1e-3).log(), (theirs + 1e-3).log())
        total = total + (apart + logs) / len(STFT_SIZES)
        if size in BAND_SIZES:
            levels = (bands(size).to(both) @ (complex_.abs() ** 2 / size)).sqrt() + 1e-3
            mine, others = levels.log().chunk(2)
            total = total + BANDS_WEIGHT * F.l1_loss(mine, others) / len(BAND_SIZES)
    return total


@lru_cache
def bands(size: int) -> Tensor:
    """Weights [BANDS, size / 2 + 1] of a spectrum's lines in triangular bands: evenly spaced in
    pitch, but no narrower than a line."""
    line = RATE / size
    centres = LOWEST * (HIGHEST / LOWEST) ** (torch.arange(BANDS) / (BANDS - 1))
    step = (HIGHEST / LOWEST) ** (1 / (BANDS - 1)) - 1
    widths = torch.maximum(centres * step, torch.tensor(line))
    hertz = torch.arange(size // 2 + 1) * line
    return (1 - (hertz - centres[:, None]).abs() / widths[:, None]).clamp(min=0)


def _middle_and_side(sound: Tensor) -> Tensor:
    """[B, 2, n] → [2B, n]."""
    return torch.cat([sound.sum(1) / 2, (sound[:, 0] - sound[:, 1]) / 2])


class Songs:
    """Songs of the generator with their latents; the crops of a step follow from its number."""

    def __init__(self, recipe: Recipe, analysis: Analysis) -> None:
        self.recipe = recipe
        self.song = lru_cache(2 * recipe.batch)(self._song)
        self.analysis = analysis

    def _song(self, seed: int) -> tuple[Singles, Stereo]:
        sound = render(compose(seed, self.recipe.song_seconds)).mix
        return self.analysis.latents(sound), sound

    def crops(self, step: int) -> tuple[Tensor, Tensor]:
        """Latents [B, 64, frames and both margins] and the sound of the frames between."""
        recipe = self.recipe
        first = recipe.seed * 1_000_000 + step // recipe.song_steps * recipe.batch
        draw = np.random.default_rng((recipe.seed, step))
        read, sounds = [], []
        for seed in range(first, first + recipe.batch):
            latents, sound = self.song(seed)
            start = int(draw.integers(latents.shape[1] - recipe.frames - 2 * recipe.margin + 1))
            begin = start + recipe.margin
            read.append(latents[:, start : start + recipe.frames + 2 * recipe.margin])
            sounds.append(sound[:, begin * HOP : (begin + recipe.frames) * HOP])
        return torch.from_numpy(np.stack(read)), torch.from_numpy(np.stack(sounds))


def figures(decoder: Decoder, analysis: Analysis, recipe: Recipe) -> tuple[float, float]:
    """Signal-to-distortion and log-spectral distance in dB over unseen songs, their median."""
    apart, spectral = [], []
    for seed in range(UNSEEN_FIRST, UNSEEN_FIRST + recipe.unseen_songs):
        sound = render(compose(seed, recipe.song_seconds)).mix
        with torch.no_grad():
            made = decoder(torch.from_numpy(analysis.latents(sound))[None])[0]
        real = torch.from_numpy(sound[:, : made.shape[1]])
        power, error = real.square().sum(), (made - real).square().sum()
        apart.append(10 * math.log10(float(power / error)))
        window = torch.hann_window(2048)
        pair = torch.stack([made.mean(0), real.mean(0)])
        shown = torch.stft(pair, 2048, 512, window=window, return_complex=True).abs()
        # levels below −60 dB of the loudest do not count as differences
        decibels = 20 * torch.log10(torch.maximum(shown, shown[1].max() * 1e-3))
        spectral.append(float((decibels[0] - decibels[1]).square().mean(0).sqrt().mean()))
    return float(np.median(apart)), float(np.median(spectral))


class Training(Loop[Recipe, Decoder]):
    """The training of a decoder."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.analysis = Analysis.usual()
        self.decoder = Decoder(nano_config(recipe.width))
        averaged = Decoder(nano_config(recipe.width))
        if recipe.width >= 16:
            start_from_inverse(self.decoder, self.analysis, recipe.seed)
        optimizer = torch.optim.Adam(self.decoder.parameters(), betas=(0.8, 0.99))
        super().__init__(recipe, out, self.decoder, averaged, optimizer)
        self.songs = Songs(recipe, self.analysis)

    def loss(self) -> Tensor:
        latents, real = self.songs.crops(self.step)
        edge = self.recipe.margin * HOP
        return distance(self.decoder(latents)[..., edge:-edge], real)

    def figures(self) -> Figures:
        distortion, spectral = figures(self.averaged, self.analysis, self.recipe)
        return Figures(round(distortion, 3), round(spectral, 3))

    def write(self) -> None:
        write(self.averaged, self.recipe, self.out / "vae")


def config_text(config: OobleckConfig) -> str:
    """config.json of the official layout."""
    told = {
        "_class_name": "AutoencoderOobleck", "audio_channels": config.audio_channels,
        "sampling_rate": config.sample_rate, "downsampling_ratios": list(config.ratios),
        "channel_multiples": list(config.multiples), "encoder_hidden_size": config.encoder_width,
        "decoder_channels": config.decoder_width, "decoder_input_channels": LATENT,
    }  # fmt: skip
    return json.dumps(told, indent=2) + "\n"


def write(decoder: Decoder, recipe: Recipe, folder: Path) -> None:
    """The decoder in the official layout, bfloat16."""
    write_half("decoder", decoder.state_dict(), nano_config(recipe.width), folder)


def write_half(
    half: str, weights: Mapping[str, Tensor], config: OobleckConfig, folder: Path
) -> None:
    """Encoder or decoder, by `half`, in the official layout, bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config_text(config), encoding="utf-8")
    tensors = {f"{half}.{n}": w.to(torch.bfloat16).contiguous() for n, w in weights.items()}
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})


class Usual(loop.Recipe, Protocol):
    """What the recipes of both halves have."""

    @property
    def width(self) -> int: ...


def parser(half: str, usual: Usual, channels: str) -> argparse.ArgumentParser:
    """The flags of a training of a half of the VAE; `channels`: which ones `--width` counts."""
    made = argparse.ArgumentParser(description=f"Train the nano VAE's {half}.")
    made.add_argument("--out", type=Path, required=True, help="folder for state, curve, weights")
    made.add_argument("--width", type=int, default=usual.width, help=channels)
    made.add_argument("--steps", type=int, default=usual.steps)
    made.add_argument("--seed", type=int, default=usual.seed)
    made.add_argument("--toy", action="store_true", help="a few tiny steps, to see that it runs")
    return made


def main(arguments: list[str] | None = None) -> int:
    usual = Recipe()
    flags = parser("decoder", usual, "decoder channels")
    flags.add_argument("--begin-from", type=Path, help="a state, where FOLDER has none")
    asked = flags.parse_args(arguments)
    recipe = Recipe(width=asked.width, steps=asked.steps, seed=asked.seed)
    training = Training(Recipe.toy() if asked.toy else recipe, asked.out)
    if asked.begin_from is not None:
        training.begin_from(asked.begin_from)
    training.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
