#!/usr/bin/env python3
"""Train the nano DiT with its encoders and audio codes: `python training/dit.py --out FOLDER`.

It learns computed latents (`latents.py`), so it can train beside the VAE's decoder. The networks
are headroom's own. Called again with the same folder it goes on where it stopped; `--toy` takes
seconds; `--device cuda` trains on a card, where `--batch-frames 16000` uses it better.

FOLDER/songs/           latents of the songs, made once
FOLDER/state.pt         everything needed to go on
FOLDER/curve.jsonl      a line an evaluation, of songs never trained on, see `Figures`
FOLDER/acestep-v15-nano, FOLDER/Qwen3-Embedding-0.6B   averaged weights, official names
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from headroom.models.acestep.text.prompts import PromptTokenizer
from latents import LATENT, WAVE, Analysis
from loop import LEAST_RATE, Loop, kept
from networks import LM, NANO, TEXT, Networks, Shape, Sizes, heard, pulses, write, write_json
from silence import beats, silence
from songs import CHANGES, Amounts, Change, Songs, beats_of
from vae import UNSEEN_FIRST
from wishes import INSTRUCTIONS, Shares, Task, Wish, draw_wishes, references, source_and_mask
from words import NUMBERS, number_embeddings, prompt_tokenizer, rows

STRONGEST = 16  # latents whose error is told apart
SLOWEST_TURN = 0.02  # radians a position; slower ones cannot tell a beat from the next
FALLING = 0.25  # of the steps, at the end, in which the rate falls
SHIFT = 3.0  # of the turbo sampler's steps
NOISIEST = 0.9
PERIOD_WEIGHT = 0.2  # of a nat about a beat's length, against its place
BLIND = 0.7  # noise from which on a song's beat is not seen in it
TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of an evaluation
GUIDANCE = 2.0
TEXT_TIMES = (0.9, 0.95, 1.0)  # where the text decides


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained and for how long. A folder belongs to one recipe.

    shares and hints_weight: see `Shares`; what the audio codes' own loss counts
    chances: of the lengths of `amounts`; short songs bring more words a second of computing
    sampled_share: of the songs, whose noise is drawn as densely as sampling visits it (SHIFT)
    noisiest_share: of the songs, which are learnt with NOISIEST or more of noise
    guidance: how strongly a teacher is guided, whose velocity is learnt then; see `Training`
    pulse_weight: what `pulse_error` counts
    fixed_codes: the tokenizer learns no more, so that a language model can train on its codes
    """

    shape: Shape = field(default_factory=Shape)
    amounts: Amounts = field(default_factory=Amounts)
    shares: Shares = field(default_factory=Shares)
    steps: int = 18_000
    rate: float = 1e-3
    batch_frames: int = 1500
    hints_weight: float = 0.3
    chances: tuple[float, ...] = (0.7, 0.2, 0.1)
    sampled_share: float = 0.4
    noisiest_share: float = 0.25
    guidance: float = 1.0
    pulse_weight: float = 0.5
    fixed_codes: bool = False
    spoken_songs: int = 1500  # whose prompts the tokenizer is made from
    every: int = 500
    seed: int = 1

    @classmethod
    def toy(cls) -> Recipe:
        """So small that a test runs it."""
        return cls(
            shape=Shape(32, 2, 32, 1, 40), amounts=Amounts((25, 50), 4, 2), chances=(0.5, 0.5),
            shares=Shares(0.3, 0.3, 0.2, 0.3), steps=4, batch_frames=100, spoken_songs=12,
            every=2,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figures:
    """Mean squared errors of the velocity over unseen songs; a network that says 0 costs about 2.

    strongest, wave, bands, whole  text to music: the strongest 16 latents, the 48 of the wave,
                                   those of the bands, all
    exchanged                      as `whole`, each song with the texts of another
    repaint                        of the middle third, the rest given
    cover                          from the song's own codes
    tempo, key, melody, drums      how much the error of text to music grows at TEXT_TIMES when
                                   the words state this one fact wrongly; 0 where nobody listens
    pulse                          of the beat's place, told by words alone; 0.5 without a notion
    period                         nats about its length, told by words alone; 3.5 without a notion
    """

    strongest: float
    wave: float
    bands: float
    whole: float
    exchanged: float
    repaint: float
    cover: float
    tempo: float
    key: float
    melody: float
    drums: float
    pulse: float
    period: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Songs and how they are learnt."""

    clean: Tensor  # [B, T, 64]
    wishes: Sequence[Wish]
    captions: list[list[int]]
    lyrics: list[list[int]]
    beats: Sequence[float]  # latent frames


class Training(Loop[Recipe, Networks]):
    """The training of the networks.

    With a `teacher`, a milestone, they learn to say at once what it says under guidance: turbo
    sampling has none (Meng et al. 2023).
    """

    def __init__(
        self, recipe: Recipe, out: Path, device: str = "cpu", teacher: Path | None = None
    ) -> None:
        self.device = torch.device(device)
        vocabulary = tokenizer(recipe, out / TEXT)
        self.sizes = Sizes.of(recipe.shape, vocabulary)
        torch.manual_seed(recipe.seed)
        networks, averaged = (Networks(recipe.shape, vocabulary).to(self.device) for _ in range(2))
        begin_numbers(networks, out / TEXT, recipe.seed)
        if recipe.fixed_codes:
            networks.codes.tokenizer.requires_grad_(False)
        analysis = Analysis.usual()
        tokens = PromptTokenizer.open(out / TEXT)
        self.songs = Songs(recipe.amounts, recipe.seed, analysis, tokens, out / "songs")
        self.quiet = torch.from_numpy(silence(analysis))
        self.silence = self.quiet[: max(recipe.amounts.lengths)].to(self.device)
        optimizer = torch.optim.AdamW(networks.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
        super().__init__(recipe, out, networks, averaged, optimizer)
        self.teacher = None if teacher is None else self._taught(teacher, vocabulary)

    def batch(self, draw: np.random.Generator) -> Batch:
        """The songs of a step."""
        recipe, amounts = self.recipe, self.recipe.amounts
        frames = int(draw.choice(amounts.lengths, p=recipe.chances))
        clean, seeds = self.songs.draw(draw, frames, max(1, recipe.batch_frames // frames))
        reach = self.trained.timbre_reach
        wishes = draw_wishes(draw, len(seeds), frames, reach, recipe.shares)
        instructions = [INSTRUCTIONS[wish.task] for wish in wishes]
        wordings = [int(number) for number in draw.integers(2**31, size=len(seeds))]
        told = self.songs.texts(frames, seeds, instructions, wordings)
        return Batch(clean.to(self.device), wishes, *told, beats_of(seeds, frames))

    def velocity(
        self, networks: Networks, batch: Batch, noisy: Tensor, times: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Velocity of noisy latents, [B, T, 64], and the loss of the audio codes."""
        clean, wishes = batch.clean, batch.wishes
        timbre, owners = references(wishes, clean, self.silence, networks.timbre_reach)
        drop = [wish.null for wish in wishes]
        conditions = networks.rows(batch.captions, batch.lyrics, timbre, owners, drop)
        covered = clean[[wish.task == "cover" for wish in wishes]]
        hints, loss = covered, clean.new_zeros(())
        if len(covered):
            hints = networks.hints(covered)
            loss = F.mse_loss(hints, heard(covered, networks.config.pool))
        source, mask = source_and_mask(wishes, clean, list(hints), self.silence)
        return networks.velocity(noisy, times, source, mask, conditions), loss

    def loss(self) -> Tensor:
        draw = np.random.default_rng((self.recipe.seed, self.step))
        batch = self.batch(draw)
        recipe = self.recipe
        times = drawn_times(draw, len(batch.clean), recipe.sampled_share, recipe.noisiest_share)
        noise, noisy = self.noised(draw, batch.clean, times)
        made, codes = self.velocity(self.trained, batch, noisy, times)
        wanted = noise - batch.clean if self.teacher is None else self.guided(batch, noisy, times)
        pulse = self.pulse_error(batch, times)
        return F.mse_loss(made, wanted) + recipe.hints_weight * codes + recipe.pulse_weight * pulse

    def pulse_error(self, batch: Batch, times: Sequence[float]) -> Tensor:
        """How wrong the DiT's inside is about the beat, where only the words tell it: an early
        layer about its length, the middle about its place. That words and clocks belong together
        hardly shows in the velocity's error before it is known."""
        frames = batch.clean.shape[1]
        blind = [
            wish.task == "text2music" and not wish.null and time >= BLIND
            for wish, time in zip(batch.wishes, times, strict=True)
        ]
        if not any(blind):
            return batch.clean.new_zeros(())
        lengths = [beat for beat, counts in zip(batch.beats, blind, strict=True) if counts]
        placed = F.mse_loss(
            self.trained.pulses(len(blind))[blind], pulses(lengths, frames).to(self.device)
        )
        kinds = torch.tensor([beats().index(beat) for beat in lengths], device=self.device)
        early = self.trained.periods(len(blind))[blind].transpose(1, 2)
        wanted = kinds.view(-1, 1).expand(-1, early.shape[2])
        return placed + PERIOD_WEIGHT * F.cross_entropy(early, wanted)

    def _taught(self, file: Path, vocabulary: int) -> Networks:
        teacher = Networks(self.recipe.shape, vocabulary).to(self.device)
        teacher.load_state_dict(kept(file))
        return teacher

    @torch.no_grad()
    def guided(self, batch: Batch, noisy: Tensor, times: Sequence[float]) -> Tensor:
        """What the teacher says under guidance, [B, T, 64]."""
        assert self.teacher is not None
        free = replace(batch, wishes=[replace(wish, null=True) for wish in batch.wishes])
        told, _ = self.velocity(self.teacher, batch, noisy, times)
        untold, _ = self.velocity(self.teacher, free, noisy, times)
        return untold + self.recipe.guidance * (told - untold)

    def rate(self) -> float:
        """Highest until the last quarter: what is still to be found out is found there."""
        left = (self.recipe.steps - self.step) / (FALLING * self.recipe.steps)
        return self.recipe.rate * max(LEAST_RATE, 0.5 - 0.5 * math.cos(math.pi * min(1.0, left)))

    def noised(
        self, draw: np.random.Generator, clean: Tensor, times: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Noise, and latents with so much of it."""
        noise = torch.from_numpy(draw.standard_normal(clean.shape).astype(np.float32))
        noise = noise.to(self.device)
        level = torch.tensor(times, device=self.device).view(-1, 1, 1)
        return noise, level * noise + (1 - level) * clean

    def write(self) -> None:
        write(self.averaged, self.sizes, self.quiet, self.out)

    @torch.no_grad()
    def errors(
        self,
        task: Task,
        exchanged: bool = False,
        change: Change | None = None,
        levels: Sequence[float] = TIMES,
    ) -> Tensor:
        """Mean squared error of each latent's velocity, [64], over unseen songs and noise levels;
        with the texts `exchanged`, or with facts that a `change` made of theirs."""
        unseen = self.songs.unseen
        clean = unseen.latents.float().to(self.device)
        count, frames, _ = clean.shape
        region = frames // 3, frames - frames // 3
        seeds = [unseen.first + (number + exchanged) % count for number in range(count)]
        told = self.songs.texts(frames, seeds, [INSTRUCTIONS[task]] * count, None, change)
        batch = Batch(clean, [Wish(task, region, False, None)] * count, *told, ())
        draw = np.random.default_rng(UNSEEN_FIRST)
        part = slice(*region) if task == "repaint" else slice(None)
        total = torch.zeros(LATENT, device=self.device)
        for level in levels:
            noise, noisy = self.noised(draw, clean, [level] * count)
            made, _ = self.velocity(self.averaged, batch, noisy, [level] * count)
            wrong = (made - (noise - clean)).square()[:, part]
            total += wrong.mean((0, 1)) / len(levels)
        return total

    def heeded(self) -> list[Tensor]:
        """By how much each latent's error grows with each of CHANGES, [64] each."""
        right = self.errors("text2music", change=lambda facts: facts, levels=TEXT_TIMES)
        return [
            self.errors("text2music", change=change, levels=TEXT_TIMES) - right
            for change in CHANGES.values()
        ]

    @torch.no_grad()
    def pulse(self) -> Tensor:
        """The mean squared error about the beats of unseen songs, of which only the words tell."""
        self.errors("text2music", change=lambda facts: facts, levels=(1.0,))
        unseen = self.songs.unseen
        count, frames, _ = unseen.latents.shape
        lengths = beats_of(range(unseen.first, unseen.first + count), frames)
        said = self.averaged.pulses(count)
        return F.mse_loss(said, pulses(lengths, frames).to(said))

    @torch.no_grad()
    def period(self) -> Tensor:
        """The cross-entropy in nats about the lengths of their beats, after `pulse`."""
        unseen = self.songs.unseen
        count, frames, _ = unseen.latents.shape
        lengths = beats_of(range(unseen.first, unseen.first + count), frames)
        said = self.averaged.periods(count).mean(1)
        return F.cross_entropy(
            said, torch.tensor([beats().index(beat) for beat in lengths]).to(said.device)
        )

    def figures(self) -> Figures:
        right, other = self.errors("text2music"), self.errors("text2music", exchanged=True)
        parts = (
            right[:STRONGEST], right[:WAVE], right[WAVE:], right, other,
            self.errors("repaint"), self.errors("cover"), *self.heeded(),
            self.pulse(), self.period(),
        )  # fmt: skip
        return Figures(*(round(float(part.mean()), 4) for part in parts))


@torch.no_grad()
def begin_numbers(networks: Networks, folder: Path, seed: int) -> None:
    """Give the numbers' tokens embeddings that tell their size; `folder` has the tokenizer."""
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    table = networks.text.embed_tokens.weight
    dit = networks.config.dit
    half = dit.head_dim // 2
    frequencies = dit.theta ** (-torch.arange(half) / half)
    begin = number_embeddings(frequencies[frequencies > SLOWEST_TURN], table.shape[1], seed)
    table[[model["vocab"][str(number)] for number in NUMBERS]] = begin.to(table)


def drawn_times(
    draw: np.random.Generator, count: int, sampled_share: float, noisiest_share: float = 0.0
) -> list[float]:
    """How much noise each of so many songs has: logistic-normal (Esser et al. 2024), or uniform
    and then moved as the sampler moves its steps, or NOISIEST and more. What the text alone
    decides, such as the tempo, is learnt where almost everything is noise, and the first kind
    hardly goes there."""
    usual = 1 / (1 + np.exp(-draw.normal(0.3, 1.0, count)))
    even = draw.uniform(0, 1, count)
    moved = SHIFT * even / (1 + (SHIFT - 1) * even)
    kind = draw.random(count)
    times = np.where(kind < sampled_share, moved, usual)
    return [float(t) for t in np.where(kind > 1 - noisiest_share, 1 - (1 - NOISIEST) * even, times)]


def tokenizer(recipe: Recipe, folder: Path) -> int:
    """Write the text encoder's tokenizer unless it is there; returns the size of its table."""
    file = folder / "tokenizer.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = prompt_tokenizer(NANO / TEXT, NANO / LM, recipe.shape.pieces, recipe.spoken_songs)
        write_json(file, made)
    return rows(json.loads(file.read_text(encoding="utf-8")))


def main(arguments: list[str] | None = None) -> int:
    usual = Recipe()
    parser = argparse.ArgumentParser(description="Train the nano DiT, its encoders and its codes.")
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--batch-frames", type=int, default=usual.batch_frames)
    parser.add_argument(
        "--songs", type=int, default=usual.amounts.songs, help="of the shortest length"
    )
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--device", default="cpu", help="as torch names it")
    parser.add_argument("--begin-from", type=Path, help="a milestone, where FOLDER has no state")
    parser.add_argument("--fixed-codes", action="store_true", help="see `Recipe`")
    parser.add_argument("--teacher", type=Path, help="a milestone whose guided velocity is learnt")
    parser.add_argument("--guidance", type=float, default=GUIDANCE, help="of the teacher")
    parser.add_argument("--milestone", type=Path, help="write one of FOLDER's state, and end")
    parser.add_argument("--toy", action="store_true", help="a few tiny steps, to see that it runs")
    asked = parser.parse_args(arguments)
    recipe = Recipe(
        amounts=Amounts(songs=asked.songs), steps=asked.steps, batch_frames=asked.batch_frames,
        seed=asked.seed, fixed_codes=asked.fixed_codes,
        guidance=1.0 if asked.teacher is None else asked.guidance,
    )  # fmt: skip
    chosen = Recipe.toy() if asked.toy else recipe
    training = Training(chosen, asked.out, asked.device, asked.teacher)
    if asked.milestone is not None:
        training.resume()
        training.milestone(asked.milestone)
        return 0
    if asked.begin_from is not None:
        training.begin_from(asked.begin_from)
    training.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
