"""The released vocabulary, as far as the texts of these tests reach into it, under its real ids.

`real_words.json` holds every piece of Qwen's byte-level vocabulary (Qwen team, 2024) that is part
of a word in `TEXTS`, and the ids of the prompts in the whole vocabulary. Joining pairs of pieces
never looks at a pair that is not part of the word, and pairs are joined in the order of the ids of
what they become. So these texts get the ids the whole vocabulary gives them, and other words may
not. Ids between the pieces are filled with letters that no text has.

    python -m support.real_words FOLDER/tokenizer.json   (from tests/) writes it anew
"""

from __future__ import annotations

import json
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE

from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES
from support.lm_texts import PROMPTS, TARGETS
from support.lm_tokenizer import OTHERS, SPECIAL, laid_out, marked

FILE = Path(__file__).with_suffix(".json")
PIECES = 151_643  # of the released vocabulary, before its marks
CODES = 65_535  # rows for audio codes; the last 1,535 stand for nothing
# The first letters of captions in the languages that are sung, signs, and a digit.
BEGINNINGS = "Aaé夜あ가ЖאعกहαΩ♭🎹(\"'#5"
FIELDS = "bpm caption duration genres keyscale language timesignature".split()
TEXTS = (
    *PROMPTS.values(),
    *TARGETS.values(),
    *(f"\n{name}: 1\n" for name in FIELDS),
    *(f"keyscale: {key}\n" for key in KEYS),
    *(f"language: {code}\n" for code in LANGUAGES),
    "\n  あ an indented line, the second.\n",
    *(f"caption: {letter}" for letter in BEGINNINGS),
    "`",
)  # fmt: skip


@cache
def stored() -> dict[str, Any]:
    """`pieces` by id, `ids` of the prompts and targets."""
    read: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return read


@cache
def real_tokenizer() -> Tokenizer:
    """217,204 tokens, as released; those of `TEXTS` are the real ones."""
    pieces = {int(number): piece for number, piece in stored()["pieces"].items()}
    ids = {piece: number for number, piece in pieces.items()}
    merges = [_halves(piece, ids) for _, piece in sorted(pieces.items()) if len(piece) > 1]
    every = {pieces.get(n, chr(0x20000 + n)): n for n in range(PIECES)}
    return marked(laid_out(BPE(vocab=every, merges=merges)), CODES)


def _halves(piece: str, ids: dict[str, int]) -> tuple[str, str]:
    """The two pieces a piece is joined from: what earlier pairs make of its letters."""
    parts = list(piece)
    while len(parts) > 2:
        joined = [ids.get(a + b, PIECES) for a, b in pairwise(parts)]
        at = joined.index(min(joined))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    first, second = parts
    return first, second


def _collected(tokenizer: Tokenizer) -> dict[str, Any]:
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    words = {word for text in TEXTS for word in _words(text)}
    parts = {w[i:j] for w in words for i in range(len(w)) for j in range(i + 1, len(w) + 1)}
    letters = pre_tokenizers.ByteLevel.alphabet()
    pieces = {vocabulary[part]: part for part in {*parts, *letters} if part in vocabulary}
    texts = PROMPTS | {f"H {name}": text for name, text in TARGETS.items()}
    ids = {name: tokenizer.encode(text).ids for name, text in texts.items()}
    return {"pieces": dict(sorted(pieces.items())), "ids": ids}


def _words(text: str) -> list[str]:
    """What is joined within, in the letters of the vocabulary; no marks."""
    layout = laid_out(BPE())
    for mark in (*(f"<|{word}|>" for word in SPECIAL), *OTHERS):
        text = text.replace(mark, "\0")
    found = []
    for part in text.split("\0"):
        whole = layout.normalizer.normalize_str(part)
        found += [word for word, _ in layout.pre_tokenizer.pre_tokenize_str(whole)]
    return found


if __name__ == "__main__":
    made = json.dumps(_collected(Tokenizer.from_file(sys.argv[1])), ensure_ascii=False)
    FILE.write_text(made.replace('"ids"', '\n"ids"').replace("], ", "],\n") + "\n", "utf-8")
