#!/usr/bin/env python3
"""Train the nano DiT with its text and condition encoders: `python training/dit.py --out FOLDER`.

It learns computed latents (`latents.py`), so it can train beside the VAE's decoder. The networks
are headroom's own. Called again with the same folder it goes on where it stopped; `--toy` takes
seconds; `--device cuda` trains on a card, where `--batch-frames 16000` uses it better.

FOLDER/songs/           latents of the songs, made once
FOLDER/state.pt         everything needed to go on
FOLDER/curve.jsonl      a line an evaluation, of songs never trained on: the squared error of the
                        velocity (a network that says 0 costs about 2) in the strongest 16 latents,
                        the 48 of the wave, those of the bands, all; and all with texts exchanged
FOLDER/acestep-v15-nano, FOLDER/Qwen3-Embedding-0.6B   averaged weights, official names
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.models.acestep.networks.config import dit_config, text_encoder_config
from headroom.models.acestep.networks.dit import DiT, TimePath
from headroom.models.acestep.networks.encoders import Conditioner, text_encoder
from headroom.models.acestep.text.prompts import PromptTokenizer
from headroom.nn.norm import RMSNorm
from headroom.nn.qwen3 import pack
from latents import HOP, LATENT, WAVE, Analysis
from loop import Loop
from music.captions import prompts
from music.piece import RATE, compose, facts
from music.render import render
from vae import UNSEEN_FIRST

NANO = Path(__file__).resolve().parent.parent / "src" / "headroom" / "models" / "acestep" / "nano"
DIT, TEXT = "acestep-v15-nano", "Qwen3-Embedding-0.6B"
STRONGEST = 16  # latents whose error is told apart


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained and for how long. A folder belongs to one recipe."""

    width: int = 192
    layers: int = 6
    text_width: int = 128
    text_layers: int = 3
    steps: int = 25_000
    rate: float = 1e-3
    batch_frames: int = 1280
    lengths: tuple[int, ...] = (160, 320, 640)  # frames of whole songs, equally many frames each
    songs: int = 2000  # of the shortest length; fewer of the longer ones
    unseen: int = 16
    dropped: float = 0.1  # share of songs that are learnt without their texts
    survey_songs: int = 48
    every: int = 250
    seed: int = 1

    @classmethod
    def toy(cls) -> Recipe:
        """So small that a test runs it."""
        return cls(
            width=32, layers=2, text_width=32, text_layers=1, steps=4, batch_frames=100,
            lengths=(25, 50), songs=4, unseen=2, survey_songs=2, every=2,
        )  # fmt: skip

    def count(self, frames: int) -> int:
        """How many songs of this length there are."""
        return max(2, self.songs * self.lengths[0] // frames)


@dataclass(frozen=True, slots=True)
class Figures:
    """Mean squared errors of the velocity over unseen songs."""

    strongest: float
    wave: float
    bands: float
    whole: float
    exchanged: float  # as `whole`, each song with the texts of another


@dataclass(frozen=True, slots=True)
class Sizes:
    """config.json of the two folders, made from the bundled ones."""

    dit: dict[str, object]
    text: dict[str, object]

    @classmethod
    def of(cls, recipe: Recipe) -> Sizes:
        dit = json.loads((NANO / DIT / "config.json").read_text(encoding="utf-8"))
        text = json.loads((NANO / TEXT / "config.json").read_text(encoding="utf-8"))
        heads, kinds = max(2, recipe.width // 32), ("sliding_attention", "full_attention")
        shared = {"num_attention_heads": heads, "num_key_value_heads": heads // 2}
        dit |= shared | {
            "hidden_size": recipe.width, "intermediate_size": 3 * recipe.width,
            "num_hidden_layers": recipe.layers, "fsq_dim": recipe.width,
            "layer_types": [kinds[i % 2] for i in range(recipe.layers)],
            "text_hidden_dim": recipe.text_width,
        }  # fmt: skip
        text |= {
            "hidden_size": recipe.text_width, "intermediate_size": 3 * recipe.text_width,
            "num_hidden_layers": recipe.text_layers,
        }  # fmt: skip
        return cls(dit, text)


class Norm(RMSNorm):
    """Headroom's norm without the operations in place that have no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Networks(nn.Module):
    """All that is trained together, ready to learn."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        sizes = Sizes.of(recipe)
        config = dit_config(sizes.dit)
        self.text = text_encoder(text_encoder_config(sizes.text))
        self.conditioner = Conditioner(config)
        self.dit = DiT(config)
        self.times = TimePath(config.dit.width)
        self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        for module in self.modules():
            if type(module) is RMSNorm:
                module.__class__ = Norm
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(True)
            if name.endswith("norm.weight") or "norm_out" in name:
                parameter.fill_(1)
            elif name.endswith("bias") or "time_proj" in name or "scale_shift_table" in name:
                parameter.zero_()
            elif "proj_out" in name:
                parameter.normal_(0, 0.01)
            elif parameter.dim() >= 2:
                fan = parameter.shape[1:].numel()
                parameter.normal_(0, min(1.0, fan**-0.5))
        self.text.embed_tokens.weight.normal_(0, 1)
        self.conditioner.null_condition_emb.normal_(0, 1)
        for layer in self.dit.layers:
            layer.get_parameter("scale_shift_table")[:, (2, 5)] = 1  # both gates open

    def rows(
        self, captions: list[list[int]], lyrics: list[list[int]], silence: Tensor, drop: list[bool]
    ) -> tuple[Tensor, tuple[int, ...]]:
        """Packed condition rows of every song, and how many each has."""
        device = silence.device
        ids, lengths = pack(captions, device)
        words, word_lengths = pack(lyrics, device)
        timbre = silence.expand(len(captions), -1, -1)
        embedded = self.text.embed(words)
        packed, counts = self.conditioner.encoder(
            self.text(ids, lengths), lengths, embedded, word_lengths, timbre, [1] * len(captions)
        )
        null = self.conditioner.null_condition_emb.view(1, -1)
        pieces = packed.split(list(counts))
        kept = [null if gone else piece for piece, gone in zip(pieces, drop, strict=True)]
        return torch.cat(kept), tuple(len(piece) for piece in kept)

    def velocity(
        self, noisy: Tensor, times: list[float], silence: Tensor,
        conditions: tuple[Tensor, tuple[int, ...]],
    ) -> Tensor:  # fmt: skip
        """Of noisy latents [B, T, 64]; text to music, so the source is silence and the mask 1."""
        batch, frames, _ = noisy.shape
        layout = self.dit.layout([frames] * batch)
        source = silence[:1].expand(batch, frames, -1)
        context = self.dit.context(source, torch.ones_like(source), layout)
        modulation = self.dit.modulation(*self.times(times)).at(*range(batch))
        cross = self.dit.condition(*conditions)
        made: Tensor = self.dit(noisy, context, modulation, cross, layout)
        return made


def write_configs(sizes: Sizes, folder: Path) -> None:
    """config.json of both folders."""
    for name, told in ((DIT, sizes.dit), (TEXT, sizes.text)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        text = json.dumps(told, indent=2) + "\n"
        (folder / name / "config.json").write_text(text, encoding="utf-8")


class Songs:
    """Latents [songs, frames, 64] by length, made once and kept; texts by the songs' seeds."""

    def __init__(self, recipe: Recipe, analysis: Analysis, folder: Path) -> None:
        self.recipe = recipe
        self.tokenizer = PromptTokenizer.open(NANO / TEXT)
        folder.mkdir(parents=True, exist_ok=True)
        self.latents: dict[int, Tensor] = {}
        self.unseen: dict[int, Tensor] = {}
        for frames in recipe.lengths:
            first = self.first(frames)
            pools = ((self.latents, first, recipe.count(frames)),
                     (self.unseen, UNSEEN_FIRST + first, recipe.unseen))  # fmt: skip
            for pool, seed, count in pools:
                pool[frames] = _kept(folder / f"{seed}-{count}.npy", analysis, seed, count, frames)

    def first(self, frames: int) -> int:
        """The seed of the first song of this length."""
        return self.recipe.seed * 10_000_000 + frames * 10_000

    def texts(self, frames: int, numbers: list[int], unseen: bool) -> tuple[list[list[int]], ...]:
        """Token ids of captions and of lyrics."""
        first = self.first(frames) + (UNSEEN_FIRST if unseen else 0)
        told = [
            prompts(facts(first + number, frames * HOP / RATE), first + number)
            for number in numbers
        ]
        tokens = self.tokenizer
        return [tokens.caption(t.caption) for t in told], [tokens.lyrics(t.lyrics) for t in told]


def _kept(file: Path, analysis: Analysis, first: int, count: int, frames: int) -> Tensor:
    if not file.exists():
        made = np.stack([
            analysis.latents(render(compose(seed, frames * HOP / RATE)).mix).T
            for seed in range(first, first + count)
        ]).astype(np.float16)  # fmt: skip
        with file.with_suffix(".new").open("wb") as out:
            np.save(out, made)
        file.with_suffix(".new").replace(file)
    return torch.from_numpy(np.load(file))


class Training(Loop[Recipe, Networks]):
    """The training of the networks."""

    def __init__(self, recipe: Recipe, out: Path, device: str = "cpu") -> None:
        self.device = torch.device(device)
        torch.manual_seed(recipe.seed)
        self.networks = Networks(recipe).to(self.device)
        averaged = Networks(recipe).to(self.device)
        analysis = Analysis.survey(recipe.survey_songs, 8.0)
        self.songs = Songs(recipe, analysis, out / "songs")
        quiet = analysis.latents(np.zeros((2, HOP), dtype=np.float32)).T
        self.silence = torch.from_numpy(quiet)[None].to(self.device)  # [1, 1, 64]
        optimizer = torch.optim.AdamW(
            self.networks.parameters(), betas=(0.9, 0.98), weight_decay=0.01
        )
        super().__init__(recipe, out, self.networks, averaged, optimizer)

    def loss(self) -> Tensor:
        recipe = self.recipe
        draw = np.random.default_rng((recipe.seed, self.step))
        frames = recipe.lengths[int(draw.integers(len(recipe.lengths)))]
        pool = self.songs.latents[frames]
        batch = min(len(pool), max(1, recipe.batch_frames // frames))
        numbers = [int(n) for n in draw.choice(len(pool), batch, replace=False)]
        clean = pool[numbers].float().to(self.device)
        noise = torch.from_numpy(draw.standard_normal(clean.shape).astype(np.float32))
        noise = noise.to(self.device)
        times = [float(t) for t in 1 / (1 + np.exp(-draw.normal(0.3, 1.0, batch)))]
        level = torch.tensor(times, device=self.device).view(-1, 1, 1)
        drop = [bool(gone) for gone in draw.random(batch) < recipe.dropped]
        captions, lyrics = self.songs.texts(frames, numbers, unseen=False)
        conditions = self.networks.rows(captions, lyrics, self.silence, drop)
        noisy = level * noise + (1 - level) * clean
        made = self.networks.velocity(noisy, times, self.silence, conditions)
        return F.mse_loss(made, noise - clean)

    def write(self) -> None:
        official = {"dit.": "decoder.", "times.": "decoder.", "conditioner.": ""}
        weights: dict[str, dict[str, Tensor]] = {DIT: {}, TEXT: {}}
        for name, tensor in self.averaged.state_dict().items():
            kept = tensor.to("cpu", torch.bfloat16).contiguous()
            if name.startswith("text."):
                weights[TEXT][name.removeprefix("text.")] = kept
            for ours, theirs in official.items():
                if name.startswith(ours):
                    weights[DIT][theirs + name.removeprefix(ours)] = kept
        write_configs(Sizes.of(self.recipe), self.out)
        for folder, tensors in weights.items():
            save_file(tensors, self.out / folder / "model.safetensors", {"format": "pt"})

    @torch.no_grad()
    def errors(self, exchanged: bool) -> Tensor:
        """Mean squared error of each latent's velocity, [64], over unseen songs and five times."""
        frames = self.recipe.lengths[0]
        clean = self.songs.unseen[frames].float().to(self.device)
        count = len(clean)
        numbers = [(number + exchanged) % count for number in range(count)]
        captions, lyrics = self.songs.texts(frames, numbers, unseen=True)
        conditions = self.averaged.rows(captions, lyrics, self.silence, [False] * count)
        draw = np.random.default_rng(UNSEEN_FIRST)
        total = torch.zeros(LATENT, device=self.device)
        times = (0.1, 0.3, 0.5, 0.7, 0.9)
        for level in times:
            noise = torch.from_numpy(draw.standard_normal(clean.shape).astype(np.float32))
            noise = noise.to(self.device)
            noisy = level * noise + (1 - level) * clean
            made = self.averaged.velocity(noisy, [level] * count, self.silence, conditions)
            total += (made - (noise - clean)).square().mean((0, 1)) / len(times)
        return total

    def figures(self) -> Figures:
        right, wrong = self.errors(False), self.errors(True)
        parts = (right[:STRONGEST], right[:WAVE], right[WAVE:], right, wrong)
        return Figures(*(round(float(part.mean()), 4) for part in parts))


def main(arguments: list[str] | None = None) -> int:
    usual = Recipe()
    parser = argparse.ArgumentParser(description="Train the nano DiT and its encoders.")
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--batch-frames", type=int, default=usual.batch_frames)
    parser.add_argument("--songs", type=int, default=usual.songs, help="of the shortest length")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--device", default="cpu", help="as torch names it")
    parser.add_argument("--toy", action="store_true", help="a few tiny steps, to see that it runs")
    asked = parser.parse_args(arguments)
    recipe = Recipe(
        steps=asked.steps, batch_frames=asked.batch_frames, songs=asked.songs, seed=asked.seed
    )
    Training(Recipe.toy() if asked.toy else recipe, asked.out, asked.device).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
