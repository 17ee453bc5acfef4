"""The grammar of song sheets: canonical tokens, no dead end, and nothing outside a domain."""

from __future__ import annotations

import random
import re

import pytest

from headroom.models.acestep.lm_words import Words
from headroom.models.acestep.sheet import FIELDS, Sheet, read
from headroom.models.acestep.sheet_grammar import CAPTION_TOKENS, SheetGrammar, SheetWords
from headroom.models.acestep.vocabulary import KEYS, LANGUAGES
from support.lm_tokenizer import VALID, lm_tokenizer

WORDS = Words.of(lm_tokenizer(), VALID)
SHARED = SheetWords(WORDS)
RUNS = 10_000
GIVEN = {
    "bpm": (30, 95, 300),
    "caption": ("a slow song", "key: value", "x" * 200, "long words " * 20, "春の歌"),
    "duration": (10, 47, 600),
    "keyscale": ("C major", "F# minor", "B♭ minor"),
    "language": ("en", "no", "yue"),
    "timesignature": ("2", "6"),
}


def written(grammar: SheetGrammar, rng: random.Random, ends: float = 0.02) -> list[int]:
    """Tokens as if logits were random; a line ends now and then, as texts do."""
    found: list[int] = []
    while not grammar.done:
        found += grammar.forced()
        if grammar.done:
            break
        allowed = grammar.allowed()
        assert len(allowed) > 0
        token = int(allowed[rng.randrange(len(allowed))])
        if rng.random() < ends:
            token = next((t for t in (WORDS.newline, WORDS.end) if t in allowed), token)
        grammar.take(token)
        found.append(token)
        assert len(found) < 4000
    return found


def test_ten_thousand_random_sheets_stay_in_their_domains() -> None:
    rng = random.Random(0)
    for _ in range(RUNS):
        known = {n: rng.choice(v) for n, v in GIVEN.items() if rng.random() < 0.4}
        asked = {n for n in FIELDS if rng.random() < 0.7}
        most = rng.choice((10, 240, 600))
        closes = rng.random() < 0.5
        grammar = SheetGrammar(
            SHARED, asked, Sheet(**known), most, closes=closes, sings=False  # type: ignore[arg-type]
        )  # fmt: skip
        text = WORDS.said(written(grammar, rng, ends=0.1))
        check(text, asked | set(known), known, most, closes)


def check(text: str, asked: set[str], known: dict[str, str | int], most: int, closes: bool) -> None:
    assert text.startswith("<think>") and text.endswith("</think>") == closes, text
    body = text.removeprefix("<think>").removesuffix("</think>").strip("\n")
    names = [line.partition(":")[0] for line in body.split("\n") if line and line[0] != " "]
    assert names == [name for name in FIELDS if name in asked], text
    assert not re.search(r"<\|\w+\|>", text) and "`" not in text and "\t" not in text
    sheet = read(text)
    for name, value in known.items():
        assert getattr(sheet, name) == (" ".join(value.split()) if name == "caption" else value)
    if "bpm" in asked:
        assert sheet.bpm is not None
    if "duration" in asked - set(known):
        assert sheet.duration is not None and 10 <= sheet.duration <= most
    if "keyscale" in asked:
        assert sheet.keyscale in KEYS
    if "language" in asked:
        assert sheet.language in LANGUAGES
    if "timesignature" in asked:
        assert sheet.timesignature in ("2", "3", "4", "6")


def test_what_is_forced_is_in_canonical_tokens() -> None:
    rng = random.Random(1)
    for _ in range(200):
        known = {n: rng.choice(v) for n, v in GIVEN.items()}
        grammar = SheetGrammar(SHARED, (), Sheet(**known), 600, closes=True, sings=False)  # type: ignore[arg-type]
        tokens = written(grammar, rng)
        sheet = Sheet(**known)  # type: ignore[arg-type]
        assert tuple(tokens) == WORDS.ids(f"<think>\n{sheet.text()}\n</think>")


@pytest.mark.parametrize("name", ["bpm", "duration", "keyscale", "language", "timesignature"])
def test_values_are_in_canonical_tokens_and_all_can_be_had(name: str) -> None:
    rng, seen = random.Random(2), set()
    for _ in range(6000):
        grammar = SheetGrammar(SHARED, (name,), Sheet(), 60, closes=True, sings=False)
        tokens = written(grammar, rng, ends=0.0)
        text = WORDS.said(tokens)
        assert tuple(tokens) == WORDS.ids(text)
        seen.add(getattr(read(text), name))
    sizes = {"bpm": 271, "duration": 51, "keyscale": 70, "language": 51, "timesignature": 4}
    assert None not in seen and len(seen) == sizes[name]


def test_a_caption_ends_at_its_limit() -> None:
    rng = random.Random(3)
    for given in (Sheet(), Sheet(duration=30)):
        grammar = SheetGrammar(
            SHARED, ("caption", "duration"), given, 60, closes=False, sings=False
        )
        tokens = written(grammar, rng, ends=0.0)
        lines = [i for i, t in enumerate(tokens) if WORDS.pieces[t : t + 1] == (b"\n",)]
        assert lines and len(tokens) <= CAPTION_TOKENS + 40


def test_a_caption_goes_on_indented_or_not_at_all() -> None:
    rng, continued = random.Random(4), 0
    for _ in range(500):
        given = Sheet(bpm=90, duration=30)
        grammar = SheetGrammar(SHARED, ("caption",), given, 60, closes=True, sings=False)
        text = WORDS.said(written(grammar, rng, ends=0.1))
        lines = text.removeprefix("<think>\n").removesuffix("</think>").rstrip("\n").split("\n")
        assert lines[0] == "bpm: 90" and lines[-1] == "duration: 30"
        assert re.match(r"caption: \S", lines[1])
        for line in lines[2:-1]:
            assert re.match(r"  \S", line), text
            continued += 1
    assert continued > 100


def test_lyrics_follow_without_marks_until_the_turn_ends() -> None:
    rng = random.Random(5)
    for _ in range(50):
        grammar = SheetGrammar(SHARED, ("bpm",), Sheet(), 60, closes=True, sings=True)
        tokens = written(grammar, rng)
        assert tokens[-1] == WORDS.end
        behind = tokens[tokens.index(WORDS.thought) + 1 : -1]
        assert all(token < WORDS.first_mark for token in behind)


def test_the_field_that_a_missing_vocabulary_spoilt_is_whole() -> None:
    """`eyscale`: the reference loses a letter, and the key, where it has no list of genres."""
    grammar = SheetGrammar(SHARED, ("genres", "keyscale"), Sheet(), 60, closes=True, sings=False)
    text = WORDS.said(written(grammar, random.Random(6), ends=0.3))
    assert re.fullmatch(
        r"<think>\ngenres: \S.*\nkeyscale: [A-G][#b♯♭]? (major|minor)\n</think>", text
    )
