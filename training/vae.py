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
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from latents import HOP, LATENT, Analysis, Singles
from music.piece import compose
from music.render import Stereo, render
from oobleck import Decoder, nano_config, start_from_inverse

UNSEEN_FIRST = 900_000_000  # seeds from here on are never trained on
STFT_SIZES = (256, 512, 1024, 2048, 4096)
AVERAGING = 0.999  # of the weights that are evaluated and written
PEAK_SHARE = 0.02  # of the steps, until the rate is at its highest


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
    survey_songs: int = 48
    unseen_songs: int = 6
    every: int = 100  # steps between evaluations and savings
    seed: int = 1

    @classmethod
    def toy(cls) -> Recipe:
        """So small that a test runs it."""
        return cls(
            width=2, steps=4, batch=1, frames=6, margin=1, song_seconds=1.0, survey_songs=2,
            unseen_songs=1, every=2,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """A line of the curve."""

    step: int
    cpu_seconds: float
    loss: float | None  # mean since the line before
    distortion_db: float  # signal to distortion
    spectral_db: float  # log-spectral distance


def distance(made: Tensor, real: Tensor) -> Tensor:
    """Of sounds [B, 2, n]: spectra at several sizes, middle and side, and the wave itself."""
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
    return total


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


class Training:
    """A decoder, its optimizer and its averaged copy, at some step."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self.recipe, self.out = recipe, out
        self.step, self.spent = 0, 0.0
        torch.manual_seed(recipe.seed)
        self.analysis = Analysis.survey(recipe.survey_songs, recipe.song_seconds)
        self.decoder = Decoder(nano_config(recipe.width))
        self.averaged = Decoder(nano_config(recipe.width))
        if recipe.width >= 16:
            start_from_inverse(self.decoder, self.analysis, recipe.seed)
        self.averaged.load_state_dict(self.decoder.state_dict())
        self.optimizer = torch.optim.Adam(self.decoder.parameters(), betas=(0.8, 0.99))
        self.songs = Songs(recipe, self.analysis)

    def resume(self) -> None:
        """Go on from `state.pt` where there is one. Raises ValueError at another recipe."""
        file = self.out / "state.pt"
        if not file.exists():
            return
        state = torch.load(file, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{file} was trained with another recipe: {state['recipe']}")
        self.decoder.load_state_dict(state["decoder"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent = state["step"], state["spent"]

    def save(self) -> None:
        """`state.pt`, replaced in one go, and the weights as a folder."""
        state = {
            "recipe": asdict(self.recipe), "decoder": self.decoder.state_dict(),
            "averaged": self.averaged.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "spent": self.spent,
        }  # fmt: skip
        torch.save(state, self.out / "state.new")
        (self.out / "state.new").replace(self.out / "state.pt")
        write(self.averaged, self.recipe, self.out / "vae")

    def advance(self) -> float:
        """One step; its loss."""
        recipe = self.recipe
        rise = min(1.0, (self.step + 1) / max(1, PEAK_SHARE * recipe.steps))
        fall = 0.5 + 0.5 * math.cos(math.pi * self.step / recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * rise * max(fall, 0.02)
        latents, real = self.songs.crops(self.step)
        edge = recipe.margin * HOP
        made = self.decoder(latents)[..., edge:-edge]
        loss = distance(made, real)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(AVERAGING, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.averaged.parameters(), self.decoder.parameters(), strict=True)
            for mean, now in pairs:
                mean.lerp_(now, 1 - keep)
        return float(loss.detach())

    def run(self) -> None:
        """To the recipe's last step."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.resume()
        started, before = time.process_time(), self.spent
        losses: list[float] = []
        if self.step == 0:
            self.note(None)
        while self.step < self.recipe.steps:
            losses.append(self.advance())
            self.spent = before + time.process_time() - started
            if self.step % self.recipe.every == 0 or self.step == self.recipe.steps:
                self.note(float(np.mean(losses)))
                losses = []
                self.save()

    def note(self, loss: float | None) -> None:
        """Evaluate; a line of the curve."""
        distortion, spectral = figures(self.averaged, self.analysis, self.recipe)
        spent, lost = round(self.spent, 1), None if loss is None else round(loss, 4)
        point = Point(self.step, spent, lost, round(distortion, 3), round(spectral, 3))
        line = json.dumps(asdict(point))
        with (self.out / "curve.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        print(line, flush=True)


def write(decoder: Decoder, recipe: Recipe, folder: Path) -> None:
    """The decoder in the official layout, bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    config = nano_config(recipe.width)
    told = {
        "_class_name": "AutoencoderOobleck", "audio_channels": config.audio_channels,
        "sampling_rate": config.sample_rate, "downsampling_ratios": list(config.ratios),
        "channel_multiples": list(config.multiples), "encoder_hidden_size": config.encoder_width,
        "decoder_channels": config.decoder_width, "decoder_input_channels": LATENT,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    tensors = {
        f"decoder.{name}": tensor.to(torch.bfloat16).contiguous()
        for name, tensor in decoder.state_dict().items()
    }
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})


def main(arguments: list[str] | None = None) -> int:
    usual = Recipe()
    parser = argparse.ArgumentParser(description="Train the nano VAE's decoder.")
    parser.add_argument("--out", type=Path, required=True, help="folder for state, curve, weights")
    parser.add_argument("--width", type=int, default=usual.width, help="decoder channels")
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--toy", action="store_true", help="a few tiny steps, to see that it runs")
    asked = parser.parse_args(arguments)
    recipe = Recipe(width=asked.width, steps=asked.steps, seed=asked.seed)
    Training(Recipe.toy() if asked.toy else recipe, asked.out).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
