"""The songs a DiT learns: their latents, made once and kept, and their texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headroom.models.acestep.text.prompts import PromptTokenizer
from latents import HOP, Analysis
from music.captions import prompts
from music.piece import RATE, Facts, arrange, facts
from music.render import render
from vae import UNSEEN_FIRST

SLOWEST, FASTEST = 60, 180  # beats a minute
SHARE_SUNG, SHARE_TOLD = 0.1, 0.8  # of lyrics; of tempo, key and metre each

Change = Callable[[Facts], Facts]
# What the words say wrongly, one fact at a time, to see whether it counts.
CHANGES: dict[str, Change] = {
    "tempo": lambda facts: replace(
        facts, bpm=round(facts.bpm * (1.17 if facts.bpm < 150 else 0.85))
    ),
    "key": lambda facts: replace(facts, tonic=(facts.tonic + 1) % 12),
    "melody": lambda facts: replace(facts, melody="flute" if facts.melody == "piano" else "piano"),
    "drums": lambda facts: replace(facts, drums=not facts.drums),
}


def known(seed: int, frames: int) -> Facts:
    """The facts of a song, at any whole tempo."""
    tempo = np.random.default_rng((seed, 4)).integers(SLOWEST, FASTEST + 1)
    return replace(facts(seed, frames * HOP / RATE), bpm=int(tempo))


def beats_of(seeds: Sequence[int], frames: int) -> list[float]:
    """Latent frames of each song's beat."""
    return [round(known(seed, frames).beat * RATE / HOP, 1) for seed in seeds]


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many songs there are.

    lengths  frames of a song, each a multiple of 5
    songs    of the shortest length; of the longer ones as many frames
    unseen   of the shortest length, never learnt
    """

    lengths: tuple[int, ...] = (160, 375, 750)
    songs: int = 1500
    unseen: int = 16

    def count(self, frames: int) -> int:
        """How many songs of this length there are."""
        return max(2, self.songs * self.lengths[0] // frames)


@dataclass(frozen=True, slots=True)
class Pool:
    """Songs with consecutive seeds: latents [songs, frames, 64], half precision."""

    first: int
    latents: Tensor


class Songs:
    """Latents made once and kept, by length; texts.

    A song's beginning is a shorter song, so those of a length are its own and the longer ones cut.
    """

    def __init__(
        self, amounts: Amounts, seed: int, analysis: Analysis, tokens: PromptTokenizer, folder: Path
    ) -> None:
        self.tokens = tokens
        folder.mkdir(parents=True, exist_ok=True)

        def pool(first: int, count: int, frames: int) -> Pool:
            file = folder / f"{first}-{count}.npy"
            return Pool(first, latents_of(file, analysis, first, count, frames))

        starts = {frames: seed * 10_000_000 + frames * 10_000 for frames in amounts.lengths}
        self.pools = {
            frames: pool(first, amounts.count(frames), frames) for frames, first in starts.items()
        }
        least = amounts.lengths[0]
        self.unseen = pool(UNSEEN_FIRST + starts[least], amounts.unseen, least)

    def draw(self, draw: np.random.Generator, frames: int, most: int) -> tuple[Tensor, list[int]]:
        """At most so many different songs of a length: latents [songs, frames, 64] and seeds."""
        pools = [pool for length, pool in self.pools.items() if length >= frames]
        counts = [len(pool.latents) for pool in pools]
        chosen = draw.choice(sum(counts), min(most, sum(counts)), replace=False)
        rows, seeds = [], []
        for number in (int(n) for n in chosen):
            at = int(np.searchsorted(np.cumsum(counts), number, side="right"))
            place = number - sum(counts[:at])
            rows.append(pools[at].latents[place, :frames])
            seeds.append(pools[at].first + place)
        return torch.stack(rows).float(), seeds

    def texts(
        self,
        frames: int,
        seeds: Sequence[int],
        instructions: Sequence[str],
        wordings: Sequence[int] | None = None,
        change: Change | None = None,
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids of captions and of lyrics; `wordings`: seeds of the words, else the songs'.
        With a `change` they tell all the facts, so changed."""
        share = SHARE_TOLD if change is None else 1.0
        told = [
            prompts(
                change(known(seed, frames)) if change else known(seed, frames), words,
                instruction=instruction, share_sung=SHARE_SUNG, share_told=share,
            )
            for seed, words, instruction in zip(seeds, wordings or seeds, instructions, strict=True)
        ]  # fmt: skip
        tokens = self.tokens
        return [tokens.caption(t.caption) for t in told], [tokens.lyrics(t.lyrics) for t in told]


def latents_of(file: Path, analysis: Analysis, first: int, count: int, frames: int) -> Tensor:
    """Latents [count, frames, 64], half precision, of the songs with seeds from `first` on: made
    once and kept in `file`."""
    if not file.exists():
        made = np.stack([
            analysis.latents(render(arrange(known(seed, frames), seed)).mix).T
            for seed in range(first, first + count)
        ]).astype(np.float16)  # fmt: skip
        with file.with_suffix(".new").open("wb") as out:
            np.save(out, made)
        file.with_suffix(".new").replace(file)
    return torch.from_numpy(np.load(file))
