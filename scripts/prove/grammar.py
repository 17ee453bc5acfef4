"""10,000 song sheets in each of three vocabularies are drawn from random logits, and all are right.

Random subsets of fields and of values that are given; logits are drawn anew for each token, and
tokens from them by the loop's own sampler at random temperatures, top-k and top-p. Held against
`support.sheets.check`: form, domains, what was given, no marks, canonical tokens; and no step where
nothing is allowed. The vocabularies are a small trained one, the bundled model's, and the released
one as far as `support.real_words` has it; `--tokenizer FOLDER` takes a model folder's instead.
Exit code 0 where nothing is wrong. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from headroom.lm.sample import Sampling, draw_tokens
from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.sheet_grammar import SheetWords
from headroom.models.acestep.model import BUNDLED

TESTS = Path(__file__).resolve().parents[2] / "tests"
MOST = 4000  # ids that logits are drawn for: a draw from all of a large set takes milliseconds


def vocabularies(folder: Path | None) -> dict[str, LMVocabulary]:
    from support.lm_tokenizer import VALID, lm_tokenizer
    from support.real_words import real_tokenizer

    if folder is not None:
        return {folder.name: LMVocabulary.open(folder)}
    return {
        "small": LMVocabulary.of(lm_tokenizer(), VALID),
        "bundled": LMVocabulary.open(BUNDLED / "acestep-5Hz-lm-nano"),
        "released": LMVocabulary.of(real_tokenizer()),
    }


class Sampler:
    """Chooses by the loop's sampler among random logits; counts what it was asked."""

    def __init__(self, words: LMVocabulary, rng: random.Random, generator: torch.Generator) -> None:
        self._words, self._rng, self._generator = words, rng, generator
        self.counts: Counter[str] = Counter()
        self.sheet()

    def sheet(self) -> None:
        """Another sheet, drawn in another way."""
        rng = self._rng
        self._sampling = Sampling(
            rng.choice((0.0, 0.3, 0.85, 2.0)), rng.choice((0, 1, 50)),
            rng.choice((1e-6, 0.5, 0.9, 1.0)), 1.0,
        )  # fmt: skip
        self._spread, self._ends = rng.choice((0.1, 3.0, 30.0)), rng.choice((0.01, 0.1, 0.3, 0.5))

    def __call__(self, allowed: Tensor) -> int:
        self.counts["steps"] += 1
        if len(allowed) == 1:
            return int(allowed[0])
        self.counts["drawn"] += 1
        if len(allowed) > MOST:
            at = torch.randint(0, len(allowed), (MOST,), generator=self._generator)
            allowed = allowed[at]
        logits = torch.randn(1, len(allowed), generator=self._generator) * self._spread
        if self._rng.random() < self._ends:  # a line that is sure to end, where it may
            logits += 1e4 * (allowed == self._words.newline)
        chance = torch.tensor([self._rng.random()])
        return int(allowed[draw_tokens(logits, chance, self._sampling)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sheets", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", type=Path, help="a language model's folder")
    args = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    from support.sheets import Case, check, written

    told: dict[str, object] = {}
    faults = 0
    for name, words in vocabularies(args.tokenizer).items():
        shared, rng = SheetWords(words), random.Random(args.seed)
        sampler = Sampler(words, rng, torch.Generator().manual_seed(args.seed))
        began = time.perf_counter()
        for number in range(args.sheets):
            case = Case.drawn(rng)
            sampler.sheet()
            try:
                check(case, written(case.grammar(shared), sampler), words)
            except AssertionError as error:
                faults += 1
                print(f"{name}, sheet {number}, {case}: {error}", flush=True)
        seconds = round(time.perf_counter() - began, 1)
        told[name] = {"sheets": args.sheets, **sampler.counts, "seconds": seconds}
    print(json.dumps({"faults": faults, **told}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
