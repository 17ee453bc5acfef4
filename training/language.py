#!/usr/bin/env python3
"""Train the nano language model: `python training/language.py --out FOLDER --dit DIT`.

DIT is the folder of `dit.py`: its songs, and more of 10 s, told in words and heard as its audio
codes, are what is read here. Each is learnt in one of the product's four ways, in the product's own
prompts: a wish gets a song sheet and codes, codes get a sheet, an idea gets a sheet, a caption gets
a sheet. Called again with the same folder it goes on where it stopped; `--toy` takes seconds.

FOLDER/songs/        latents of the songs that are read beside those of DIT, made once
FOLDER/state.pt      everything needed to go on
FOLDER/curve.jsonl   a line an evaluation, of songs kept apart, see `Figures`
FOLDER/acestep-5Hz-lm-nano   averaged weights, official layout
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.sheet import Sheet
from headroom.models.acestep.networks.codes import CodesNetwork
from headroom.models.acestep.networks.config import dit_config, text_encoder_config
from headroom.models.acestep.networks.encoders import layer_sizes
from headroom.models.acestep.text import lm_prompts
from headroom.models.acestep.text.codes_text import codes_to_text
from headroom.models.acestep.text.prompts import INSTRUMENTAL
from headroom.nn.causal import CausalLM
from headroom.nn.norm import RMSNorm
from headroom.nn.qwen3 import pack
from headroom.weights.checkpoint import Checkpoint
from latents import Analysis
from loop import Loop
from music.captions import caption
from networks import DIT, HEAD, LM, NANO, Norm
from songs import known, latents_of
from vae import UNSEEN_FIRST
from words import language_tokenizer

Way = Literal["generate", "understand", "inspire", "format"]
WAYS: tuple[Way, ...] = ("generate", "understand", "inspire", "format")
CHANCES = (0.5, 0.3, 0.1, 0.1)
MORE_FIRST = 600_000_000  # seeds of the songs that are made here
TOLD_FIRST = 1_000_000_000  # seeds of the songs that are only told, and of wordings
LYRIC = f"# Lyric\n{INSTRUMENTAL}\n"  # what follows the sheet of a song without words


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained and for how long. A folder belongs to one recipe.

    short         latent frames of a song's beginning, which is learnt too
    more          songs of this length that are made here: the DiT's are too few to tell a key by
    least_frames  shorter songs are left out: a sheet states no length below 10 s
    """

    width: int = 192
    layers: int = 6
    steps: int = 3000
    rate: float = 1e-3
    batch: int = 4
    apart: int = 16  # songs of each length that are not learnt
    short: int = 250
    more: int = 1500
    least_frames: int = 250
    every: int = 200
    seed: int = 1

    @classmethod
    def toy(cls) -> Recipe:
        """So small that a test runs it."""
        return cls(
            width=32, layers=1, steps=4, batch=2, apart=1, short=25, more=2, least_frames=0, every=2
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """Mean cross-entropy a token, in nats, over songs kept apart.

    sheet       of a sheet that is written for a wish
    codes       of the codes after it
    exchanged   of the codes under the wish and the sheet of another song
    understood  of a sheet that describes codes
    """

    sheet: float
    codes: float
    exchanged: float
    understood: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A song as codes; what is known of it follows from seed and latent frames, and the words of a
    wish for it from `wording`, or else from the seed."""

    seed: int
    frames: int
    codes: tuple[int, ...]
    wording: int | None = None

    @property
    def caption(self) -> str:
        words = self.seed if self.wording is None else self.wording
        return caption(known(self.seed, self.frames), words)

    @property
    def sheet(self) -> Sheet:
        """What is known of it, its caption in English."""
        facts = known(self.seed, self.frames)
        return Sheet(
            bpm=facts.bpm, caption=caption(facts, self.seed, "en"), duration=int(facts.seconds),
            keyscale=facts.key, language="unknown", timesignature=str(facts.metre),
        )  # fmt: skip


def prompt_and_answer(song: Heard, way: Way, told: Heard | None = None) -> tuple[str, str, str]:
    """What is read, what is to be written first, and the codes or lyrics to be written then.

    `told`: the song whose wish and sheet it is; its own if None.
    """
    told = told or song
    thought = lm_prompts.thought(told.sheet.text())
    ending = f"{LYRIC}{lm_prompts.END}"
    if way == "generate":
        codes = f"{codes_to_text(song.codes)}{lm_prompts.END}"
        return lm_prompts.generating_prompt(told.caption, INSTRUMENTAL), thought, codes
    if way == "understand":
        return lm_prompts.understanding_prompt(codes_to_text(song.codes)), thought, ending
    if way == "inspire":
        return lm_prompts.inspiring_prompt(told.caption, True), thought, ending
    return lm_prompts.formatting_prompt(told.caption, INSTRUMENTAL, INSTRUMENTAL), thought, ending


def retold(song: Heard, way: Way, draw: np.random.Generator) -> Heard:
    """The song in other words; for a sheet of words alone another song, which need not exist."""
    seed, wording = (int(number) for number in draw.integers(TOLD_FIRST, 2 * TOLD_FIRST, size=2))
    if way in ("inspire", "format"):
        return Heard(seed, song.frames, (), wording)
    return replace(song, wording=wording)


@torch.no_grad()
def songs_of(dit: Path, recipe: Recipe, out: Path) -> list[Heard]:
    """The songs that a DiT was trained with and those of `out`, as the DiT's own codes: of
    `least_frames` and more, and the beginnings of longer ones."""
    config = dit_config(json.loads((dit / DIT / "config.json").read_text(encoding="utf-8")))
    codes, checkpoint = CodesNetwork(config), Checkpoint.open(dit / DIT)
    codes.load_state_dict({name: checkpoint.read(name).float() for name in codes.state_dict()})
    pools = [
        (first, np.load(file))
        for file in sorted((dit / "songs").glob("*.npy"))
        if (first := int(file.stem.partition("-")[0])) < UNSEEN_FIRST
    ]
    if recipe.more:
        out.mkdir(parents=True, exist_ok=True)
        file = out / f"{MORE_FIRST}-{recipe.more}.npy"
        more = latents_of(file, Analysis.usual(), MORE_FIRST, recipe.more, recipe.short)
        pools.append((MORE_FIRST, more.numpy()))
    found = []
    for first, pool in pools:
        if pool.shape[1] < recipe.least_frames:
            continue
        for number, latents in enumerate(pool):
            for frames in sorted({min(recipe.short, len(latents)), len(latents)}):
                row = torch.from_numpy(latents[:frames].astype(np.float32))[None]
                index = codes.tokenizer(row, row)[0].tolist()  # whole groups: no silence is read
                found.append(Heard(first + number, frames, tuple(index)))
    return found


class Training(Loop[Recipe, CausalLM]):
    """The training of a language model."""

    def __init__(self, recipe: Recipe, out: Path, dit: Path) -> None:
        known_codes = dit_config(
            json.loads((dit / DIT / "config.json").read_text(encoding="utf-8"))
        ).levels
        self.folder = out / LM
        self.sizes = prepare(recipe, self.folder, int(np.prod(known_codes)))
        self.words = LMVocabulary.open(self.folder)
        songs = songs_of(dit, recipe, out / "songs")
        lengths = sorted({song.frames for song in songs})
        by_length = [[song for song in songs if song.frames == frames] for frames in lengths]
        self.apart = [song for group in by_length for song in group[: recipe.apart]]
        hidden = {song.seed for song in self.apart}  # also those of another length
        self.songs = [song for song in songs if song.seed not in hidden]
        torch.manual_seed(recipe.seed)
        model, averaged = (_model(self.sizes) for _ in range(2))
        optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
        super().__init__(recipe, out, model, averaged, optimizer)

    def surprise(
        self, model: CausalLM, texts: Sequence[tuple[str, str, str]]
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of all tokens that are to be written: those of the second texts, and of the
        third."""
        parts = [[self.words.ids(part) for part in text] for text in texts]
        ids, lengths = pack([[i for part in song for i in part] for song in parts], _HOST)
        kinds = torch.cat([
            torch.cat([torch.full((len(part),), kind) for kind, part in enumerate(song)])
            for song in parts
        ])  # fmt: skip
        hidden = model(ids, lengths)
        logits = model.logits(hidden[:-1], slice(0, model.embed_tokens.num_embeddings))
        losses = F.cross_entropy(logits, ids[1:], reduction="none")
        return losses[kinds[1:] == 1], losses[kinds[1:] == 2]

    def loss(self) -> Tensor:
        draw = np.random.default_rng((self.recipe.seed, self.step))
        chosen = [
            self.songs[int(n)] for n in draw.integers(len(self.songs), size=self.recipe.batch)
        ]
        ways = [WAYS[int(way)] for way in draw.choice(len(WAYS), size=len(chosen), p=CHANCES)]
        texts = [
            prompt_and_answer(retold(song, way, draw), way)
            for song, way in zip(chosen, ways, strict=True)
        ]
        return torch.cat(self.surprise(self.trained, texts)).mean()

    @torch.no_grad()
    def figures(self) -> Figures:
        others = [*self.apart[1:], self.apart[0]]
        sheets, codes, wrong, heard = [], [], [], []
        for song, other in zip(self.apart, others, strict=True):
            sheet, code = self.surprise(self.averaged, [prompt_and_answer(song, "generate")])
            exchanged = prompt_and_answer(song, "generate", other)
            sheets.append(sheet)
            codes.append(code)
            wrong.append(self.surprise(self.averaged, [exchanged])[1])
            understood = prompt_and_answer(song, "understand")
            heard.append(self.surprise(self.averaged, [understood])[0])
        parts = (sheets, codes, wrong, heard)
        return Figures(*(round(float(torch.cat(part).mean()), 4) for part in parts))

    def write(self) -> None:
        write(self.averaged.state_dict(), self.folder)


_HOST = torch.device("cpu")


def write(weights: dict[str, Tensor], folder: Path) -> None:
    """The weights in the official layout, bfloat16; `prepare` writes what stands beside them."""
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def prepare(recipe: Recipe, folder: Path, codes: int) -> dict[str, object]:
    """Write tokenizer.json and config.json; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = language_tokenizer(NANO / LM, codes)
    sizes: dict[str, object] = json.loads((NANO / LM / "config.json").read_text(encoding="utf-8"))
    heads = max(2, recipe.width // HEAD)
    sizes |= {
        "hidden_size": recipe.width, "intermediate_size": 3 * recipe.width,
        "num_hidden_layers": recipe.layers, "num_attention_heads": heads,
        "num_key_value_heads": heads // 2, "vocab_size": tokenizer["added_tokens"][-1]["id"] + 1,
    }  # fmt: skip
    for name, told in (("tokenizer", tokenizer), ("config", sizes)):
        text = json.dumps(told, indent=1) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return sizes


@torch.no_grad()
def _model(sizes: dict[str, object]) -> CausalLM:
    """Ready to learn."""
    config = text_encoder_config(sizes)
    model = CausalLM(layer_sizes(config.sizes), config.layers, config.vocabulary)
    for module in model.modules():
        if type(module) is RMSNorm:
            module.__class__ = Norm
    for parameter in model.parameters():
        parameter.requires_grad_(True)
        if parameter.dim() == 1:
            parameter.fill_(1)
        else:
            parameter.normal_(0, parameter.shape[1] ** -0.5)
    return model


def main(arguments: list[str] | None = None) -> int:
    usual = Recipe()
    parser = argparse.ArgumentParser(description="Train the nano language model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for state, curve, weights")
    parser.add_argument("--dit", type=Path, required=True, help="folder of the DiT's training")
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--toy", action="store_true", help="a few tiny steps, to see that it runs")
    asked = parser.parse_args(arguments)
    recipe = Recipe(steps=asked.steps, seed=asked.seed)
    Training(Recipe.toy() if asked.toy else recipe, asked.out, asked.dit).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
