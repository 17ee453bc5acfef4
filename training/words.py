"""The text encoder's tokenizer: bytes, the most common pieces of the generator's prompts, numbers.

Text is split as the language model's tokenizer splits it, but for numbers: one of `NUMBERS` is a
token. A tempo spelt digit by digit was not followed at all after 4,000 steps (docs/log.md).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, trainers
from torch import Tensor

from headroom.models.acestep.requests.tasks import GENERATE, REPAINT, SEMANTIC
from music.captions import LANGUAGES, prompts
from music.piece import BEAT_GRID, facts

INSTRUCTIONS = (GENERATE, REPAINT, SEMANTIC)  # of the tasks that a turbo model knows
BYTES = 256
NUMBERS = range(10, 301)  # each a token: tempos, and lengths in seconds
DIGIT, DIGITS = r"\p{N}|", r"\p{N}{1,3}|"  # in the pattern that splits: one at a time, up to three
POSITIONS_A_SECOND = 12.5  # of the DiT, which joins two latent frames
SPOKEN_FIRST = 400_000_000  # seeds of the songs whose prompts are read here


def prompt_tokenizer(text: Path, language: Path, pieces: int, songs: int) -> dict[str, Any]:
    """tokenizer.json with `pieces` merges, learnt from the prompts of `songs` songs, and numbers.

    Everything else is as in the bundled folders: `text` gives the special tokens, `language` the
    split. Ids: bytes, pieces, numbers, special tokens. Raises ValueError for another split.
    """
    made: dict[str, Any] = json.loads((text / "tokenizer.json").read_text(encoding="utf-8"))
    other = json.loads((language / "tokenizer.json").read_text(encoding="utf-8"))
    made["pre_tokenizer"] = other["pre_tokenizer"]
    bytes_alone = {piece: id_ for piece, id_ in made["model"]["vocab"].items() if id_ < BYTES}
    made["model"] |= {"vocab": bytes_alone, "merges": []}
    pattern = made["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    if DIGIT not in pattern["Regex"]:
        raise ValueError(f"the split of {language} does not take digits one at a time")
    pattern["Regex"] = pattern["Regex"].replace(DIGIT, DIGITS)
    learner = Tokenizer.from_str(json.dumps(made | {"added_tokens": [], "post_processor": None}))
    trainer = trainers.BpeTrainer(
        vocab_size=BYTES + pieces, initial_alphabet=list(made["model"]["vocab"]),
        show_progress=False, min_frequency=1,
    )  # fmt: skip
    learner.train_from_iterator(_texts(songs), trainer)
    learnt = json.loads(learner.to_str())["model"]["merges"][:pieces]
    merges = [(left, right) for left, right in learnt if not (left + right).isdecimal()]
    merges += _merged_numbers()  # and no others of digits, which would join the wrong ones first
    vocabulary = made["model"]["vocab"]
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    made["model"]["merges"] = [f"{left} {right}" for left, right in merges]
    ids = {}
    for number, token in enumerate(made["added_tokens"]):
        token["id"] = ids[token["content"]] = len(vocabulary) + number
    for name, special in made["post_processor"]["special_tokens"].items():
        special["ids"] = [ids[name]]
    return made


def _merged_numbers() -> list[tuple[str, str]]:
    """The merges that make each of NUMBERS a token, whichever of its digits are joined first."""
    two = [(text[0], text[1]) for text in map(str, NUMBERS) if len(text) == 2]
    three = [text for text in map(str, NUMBERS) if len(text) == 3]
    joined = [(text[:2], text[2]) for text in three]
    return two + joined + [(text[0], text[1:]) for text in three if text[1] != "0"]


def number_embeddings(frequencies: Tensor, width: int, seed: int) -> Tensor:
    """[len(NUMBERS), width] to begin with, of mean square 1. Half of it makes neighbours alike and
    lets the period of a tempo be read linearly; half is equal for the tempos that have one beat in
    the songs, and unlike for all others.

    frequencies  radians a position of the DiT's rotary embedding, so that a query can be turned by
                 a beat, by half of one, or by two or four
    """
    numbers = torch.tensor(list(NUMBERS), dtype=torch.float32)
    period = 60 * POSITIONS_A_SECOND / numbers
    angles = [beats * period[:, None] * frequencies for beats in (0.5, 1.0, 2.0, 4.0)]
    angles += [torch.log2(numbers / NUMBERS[0])[:, None] * torch.tensor([0.5, 1.0, 2.0])]
    angle = torch.cat(angles, 1)
    features = torch.cat((angle.cos(), angle.sin()), 1)
    draw = np.random.default_rng((seed, 9))
    mixed = features @ torch.from_numpy(draw.standard_normal((features.shape[1], width))).float()
    mixed = mixed / mixed.square().mean(1, keepdim=True).sqrt()
    beat = [round(60 / number / BEAT_GRID) for number in NUMBERS]
    marks = torch.from_numpy(draw.standard_normal((max(beat) + 1, width))).float()[beat]
    both = mixed + marks / marks.square().mean(1, keepdim=True).sqrt()
    return both / both.square().mean(1, keepdim=True).sqrt()


def rows(tokenizer: dict[str, Any]) -> int:
    """How many embeddings a network needs for it: a multiple of 8."""
    highest = max(int(token["id"]) for token in tokenizer["added_tokens"])
    return -(-(highest + 1) // 8) * 8


def _texts(songs: int) -> list[str]:
    texts = []
    for number in range(songs):
        seed = SPOKEN_FIRST + number
        told = prompts(
            facts(seed, 8.0 + number % 600), seed,
            instruction=INSTRUCTIONS[number % len(INSTRUCTIONS)],
            language=list(LANGUAGES)[number % len(LANGUAGES)],
        )  # fmt: skip
        texts += [told.caption, told.lyrics]
    return texts


def language_tokenizer(language: Path, codes: int) -> dict[str, Any]:
    """tokenizer.json of the bundled language model with so many audio codes."""
    made: dict[str, Any] = json.loads((language / "tokenizer.json").read_text(encoding="utf-8"))
    kinds = [token for token in made["added_tokens"] if "audio_code" in token["content"]]
    marks = [token for token in made["added_tokens"] if token not in kinds]
    first = kinds[0]["id"]
    spoken = [
        kinds[0] | {"id": first + code, "content": f"<|audio_code_{code}|>"}
        for code in range(codes)
    ]
    return made | {"added_tokens": marks + spoken}
