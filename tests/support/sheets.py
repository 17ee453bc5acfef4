"""Song sheets as random logits would have them written under the grammar, and what must hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.sheet import FIELDS, Sheet, read_sheet
from headroom.models.acestep.language.sheet_grammar import SheetGrammar, SheetWords
from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES

# What somebody may have said, by field.
SAID: dict[str, tuple[str | int, ...]] = {
    "bpm": (30, 95, 300),
    "caption": (
        "a slow song", "key: value", "x" * 200, "long words " * 20, "春の歌 🎹", "# 1", "no", "1.5",
        "it's 'quoted'", 'with "double" quotes\tand a tab', "two\nlines",
    ),
    "duration": (10, 47, 600),
    "keyscale": ("C major", "F# minor", "B♭ minor"),
    "language": ("en", "no", "yue"),
    "timesignature": ("2", "6"),
}  # fmt: skip
Choose = Callable[[Tensor], int]


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked for, what is given, and how it ends."""

    asked: frozenset[str]
    given: Sheet
    most: int
    closes: bool

    @classmethod
    def drawn(cls, rng: random.Random) -> Case:
        given = {name: rng.choice(said) for name, said in SAID.items() if rng.random() < 0.4}
        asked = frozenset(name for name in FIELDS if rng.random() < 0.7)
        most, closes = rng.choice((10, 240, 600)), rng.random() < 0.5
        return cls(asked, Sheet(**given), most, closes)  # type: ignore[arg-type]

    def grammar(self, shared: SheetWords) -> SheetGrammar:
        return SheetGrammar(
            shared, self.asked, self.given, self.most, closes=self.closes, sings=False
        )

    @property
    def open(self) -> frozenset[str]:
        """What is to be filled in."""
        return self.asked - self.given.values().keys()


def likeliest(words: LMVocabulary, rng: random.Random, ends: float) -> Choose:
    """The likeliest token by random logits, which is any of those allowed; a line ends now and
    then, as texts do."""

    def choose(allowed: Tensor) -> int:
        if rng.random() < ends:
            for end in (words.end, words.newline):
                if end in allowed:
                    return end
        return int(allowed[rng.randrange(len(allowed))])

    return choose


def written(grammar: SheetGrammar, choose: Choose, most: int = 4000) -> list[int]:
    """The tokens of a sheet. A step where nothing is allowed, or that never ends, is a fault."""
    found: list[int] = []
    while not grammar.done:
        found += grammar.forced()
        if grammar.done:
            break
        allowed = grammar.allowed()
        assert len(allowed) > 0, found
        token = choose(allowed)
        grammar.take(token)
        found.append(token)
        assert len(found) < most, found[:100]
    return found


def check(case: Case, tokens: list[int], words: LMVocabulary) -> None:
    """Form, domains, what was given, marks, and canonical tokens."""
    text = words.decode(tokens)
    assert tokens[0] == words.think and (tokens[-1] == words.thought) == case.closes, text
    assert text.startswith("<think>") and text.endswith("</think>") == case.closes, text
    inside = tokens[1 : -1 if case.closes else None]
    assert all(token < words.first_mark for token in inside), text
    body = text.removeprefix("<think>").removesuffix("</think>").strip("\n")
    names = [line.partition(":")[0] for line in body.split("\n") if line and line[0] != " "]
    wanted = case.asked | case.given.values().keys()
    assert names == [name for name in FIELDS if name in wanted], text
    assert "`" not in text and "\t" not in text, text
    _check_values(case, read_sheet(text), text)
    if not case.open & {"caption", "genres"}:
        assert tuple(tokens) == words.ids(text), text


def _check_values(case: Case, sheet: Sheet, text: str) -> None:
    for name, value in case.given.values().items():
        seen = sheet.values().get(name)
        assert seen == (" ".join(value.split()) if isinstance(value, str) else value), text
    if "bpm" in case.open:
        assert sheet.bpm is not None and 30 <= sheet.bpm <= 300, text
    if "duration" in case.open:
        assert sheet.duration is not None and 10 <= sheet.duration <= case.most, text
    if "keyscale" in case.open:
        assert sheet.keyscale in KEYS, text
    if "language" in case.open:
        assert sheet.language in LANGUAGES, text
    if "timesignature" in case.open:
        assert sheet.timesignature in ("2", "3", "4", "6"), text
