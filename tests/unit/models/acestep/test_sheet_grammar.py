"""The grammar of song sheets: canonical tokens, no dead end, and nothing outside a domain.

Two vocabularies: a small one that was trained on a line of text, and the released one as far as
`support.real_words` has it. `scripts/prove grammar` writes 10,000 sheets in each.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from functools import cache

import pytest
import torch

from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.sheet import FIELDS, Sheet, read_sheet
from headroom.models.acestep.language.sheet_grammar import (
    CONTINUED,
    FreeText,
    SheetGrammar,
    SheetWords,
)
from support.lm_tokenizer import VALID, lm_tokenizer
from support.real_words import real_tokenizer
from support.sheets import SAID, Case, check, likeliest, written

SIZES = {"bpm": 271, "duration": 51, "keyscale": 70, "language": 51, "timesignature": 4}
both = pytest.mark.parametrize("which", ["small", "real"])


@cache
def shared(which: str = "small") -> SheetWords:
    made = (
        LMVocabulary.of(lm_tokenizer(), VALID)
        if which == "small"
        else LMVocabulary.of(real_tokenizer())
    )
    return SheetWords(made)


def random_tokens(grammar: SheetGrammar, rng: random.Random, ends: float = 0.02) -> list[int]:
    return written(grammar, likeliest(grammar._words, rng, ends))


@pytest.mark.parametrize(("which", "runs"), [("small", 1200), ("real", 400)])
def test_random_sheets_stay_in_their_domains(which: str, runs: int) -> None:
    rng, words = random.Random(0), shared(which).words
    for _ in range(runs):
        case = Case.drawn(rng)
        check(case, random_tokens(case.grammar(shared(which)), rng, ends=0.1), words)


@both
def test_what_is_forced_is_in_canonical_tokens(which: str) -> None:
    rng, words = random.Random(1), shared(which).words
    for _ in range(200):
        sheet = Sheet(**{name: rng.choice(said) for name, said in SAID.items()})  # type: ignore[arg-type]
        grammar = SheetGrammar(shared(which), (), sheet, 600, closes=True, sings=False)
        text = f"<think>\n{sheet.text()}\n</think>"
        assert grammar.forced() == words.ids(text) and grammar.done


@both
@pytest.mark.parametrize("name", SIZES)
def test_values_are_in_canonical_tokens_and_all_can_be_had(which: str, name: str) -> None:
    words, found = shared(which).words, set()
    # Every path through the trie, in a sheet of this field and the fixed text around it.
    paths: list[tuple[int, ...]] = [()]
    while paths:
        path = paths.pop()
        grammar = SheetGrammar(shared(which), (name,), Sheet(), 60, closes=True, sings=False)
        tokens = [*grammar.forced()]
        for token in path:
            grammar.take(token)
        tokens += [*path, *grammar.forced()]
        if grammar.done:
            assert tuple(tokens) == words.ids(words.decode(tokens))
            found.add(getattr(read_sheet(words.decode(tokens)), name))
        else:
            paths += [(*path, int(token)) for token in grammar.allowed()]
    assert None not in found and len(found) == SIZES[name]


def test_tries_are_as_large_as_the_specification_says() -> None:
    """Nodes with the root, counted by hand, without the lines' ends. The
    quotes of `'no'` are two more than there, where that value is not as it was trained."""

    def nodes(name: str) -> int:
        root, newline, count = shared("real").trie(name, 600), shared("real").words.newline, 0
        waiting = [root]
        while waiting:
            count += 1
            node = waiting.pop()
            waiting += [after for token, after in node.after.items() if token != newline]
        return count

    assert [nodes(name) for name in SIZES] == [302, 602, 106, 55, 6]


def test_the_first_field_is_in_the_tokens_of_training() -> None:
    """`bpm:` is b|pm|: there, and bp|m|: where it is forced by the longest piece."""
    grammar = SheetGrammar(shared("real"), ("bpm",), Sheet(), 60, closes=True, sings=False)
    assert grammar.forced() == (151_667, 198, 65, 5187, 25)
    given = SheetGrammar(shared("real"), (), Sheet(bpm=97), 60, closes=True, sings=False)
    assert given.forced() == (151_667, 198, 65, 5187, 25, 220, 24, 22, 198, 151_668)


def test_a_quoted_language_ends_with_its_line_in_one_token() -> None:
    """`language: 'no'`: the quote and the line's end are one token (1248)."""
    grammar = SheetGrammar(
        shared("real"), ("language", "timesignature"), Sheet(), 60, closes=True, sings=False
    )
    tokens = [*grammar.forced()]
    for token in (364, 2152, 1248):
        assert token in grammar.allowed()
        grammar.take(token)
    assert tokens[2:] == [11_528, 25]
    assert grammar.forced() == shared("real").words.ids("timesignature:")


@both
@pytest.mark.parametrize("given", [Sheet(), Sheet(duration=30)])
def test_a_caption_ends_at_its_limit(which: str, given: Sheet) -> None:
    """However it is written, with lines or without: so many tokens, and then the line's end."""
    words = shared(which).words
    sets: dict[int, tuple[torch.Tensor, list[int], list[int]]] = {}  # kept, so that ids stay theirs
    for ends in (0.0, 0.2):
        rng, free = random.Random(3), 0
        grammar = SheetGrammar(
            shared(which), ("caption", "duration"), given, 60, closes=True, sings=False
        )
        grammar.forced()
        last = grammar.allowed()
        while not grammar.forced():
            last = grammar.allowed()
            if id(last) not in sets:
                every = [token for token in last.tolist() if token != words.newline]
                lines = [token for token in every if words.ends_line[token]] + [words.newline]
                # Behind a line it always goes on.
                goes_on = [words.space] if len(last) == 2 and words.space in every else every
                sets[id(last)] = last, goes_on, [token for token in lines if token in last]
            _, others, lines = sets[id(last)]
            over = not others or (bool(lines) and rng.random() < ends)
            token = rng.choice(lines if over else others)
            grammar.take(token)
            free += 1
        if ends:  # a line that ends near the limit is not continued
            assert 512 - CONTINUED < free <= 512 + 1
        else:
            assert last.tolist() == [words.newline] and free == 512 + 1


@both
def test_a_caption_goes_on_indented_or_not_at_all(which: str) -> None:
    rng, continued = random.Random(4), 0
    for _ in range(300):
        given = Sheet(bpm=90, duration=30)
        grammar = SheetGrammar(shared(which), ("caption",), given, 60, closes=True, sings=False)
        text = shared(which).words.decode(random_tokens(grammar, rng, ends=0.1))
        lines = text.removeprefix("<think>\n").removesuffix("</think>").rstrip("\n").split("\n")
        assert lines[0] == "bpm: 90" and lines[-1] == "duration: 30"
        assert re.match(r"caption: \S", lines[1])
        for line in lines[2:-1]:
            assert re.match(r"  \S", line), text
            continued += 1
    assert continued > 100


def test_behind_a_caption_s_line_comes_a_continuation_or_the_next_field() -> None:
    words = shared("real").words
    grammar = SheetGrammar(
        shared("real"), ("caption", "duration"), Sheet(), 60, closes=True, sings=False
    )
    grammar.forced()
    for token in words.ids(" slow.\n"):
        assert token in grammar.allowed()
        grammar.take(token)
    (field, *_) = words.ids("duration:")
    assert grammar.forced() == () and grammar.allowed().tolist() == sorted([words.space, field])
    for token in words.ids("  and soft\n"):
        assert token in grammar.allowed()
        grammar.take(token)
    grammar.take(field)
    assert (field, *grammar.forced()) == words.ids("duration:")
    assert grammar.allowed().tolist() == [words.space]


def test_a_caption_of_any_script_can_be_written_in_its_tokens() -> None:
    words = shared("real").words
    for text in ("あ", "夜", "Жa", "5 a", "🎹", "♭"):
        grammar = SheetGrammar(shared("real"), ("caption",), Sheet(), 60, closes=True, sings=False)
        tokens = [*grammar.forced()]
        for token in words.ids(f"caption: {text}\n")[2:]:
            assert token in grammar.allowed(), (text, token)
            grammar.take(token)
            tokens.append(token)
        grammar.take(words.thought)  # no other line
        tokens += [words.thought, *grammar.forced()]
        assert grammar.done and tuple(tokens) == words.ids(f"<think>\ncaption: {text}\n</think>")


@both
def test_lyrics_follow_without_marks_until_the_turn_ends(which: str) -> None:
    rng, words = random.Random(5), shared(which).words
    for _ in range(50):
        grammar = SheetGrammar(shared(which), ("bpm",), Sheet(), 60, closes=True, sings=True)
        tokens = random_tokens(grammar, rng)
        assert tokens[-1] == words.end
        behind = tokens[tokens.index(words.thought) + 1 : -1]
        assert all(token < words.first_mark for token in behind)
    assert behind


def test_the_field_that_a_missing_vocabulary_spoilt_is_whole() -> None:
    """`eyscale`: the reference loses a letter, and the key, where it has no list of genres."""
    for which in ("small", "real"):
        for asked in (("genres", "keyscale"), FIELDS):
            grammar = SheetGrammar(shared(which), asked, Sheet(), 60, closes=True, sings=False)
            text = shared(which).words.decode(random_tokens(grammar, random.Random(6), ends=0.3))
            assert re.search(
                r"\ngenres: \S.*\nkeyscale: [A-G][#b♯♭]? (major|minor)\n(language: .*\n|</think>)",
                text,
            ), text


def test_without_a_grammar_only_marks_and_codes_are_kept_out() -> None:
    words = shared("real").words
    free = FreeText(shared("real"))
    allowed = set(free.allowed().tolist())
    assert free.forced() == () and allowed >= set(range(words.first_mark))
    marks = {words.end, words.think, words.thought}
    assert allowed - set(range(words.first_mark)) == marks
    free.take(words.think)
    free.take(5)
    assert not free.done
    free.take(words.thought)
    assert free.done


GENRES = (
    "rock", "rock and roll", "pop, electronic, dance", "pop", "a: b", "'quoted'", "1980", "no",
    "# one", "r&b", "春の歌", "so many words " * 9, "<|im_end|> rock", "<think>", "", "  pop  ",
)  # fmt: skip
SAYABLE = {" ".join(g.split()) for g in GENRES if g and "<" not in g}


@cache
def with_genres(which: str) -> SheetWords:
    return SheetWords(shared(which).words, GENRES)


@both
def test_genres_are_whole_lines_of_their_list_and_all_can_be_had(which: str) -> None:
    words, found = with_genres(which).words, set()
    paths: list[tuple[int, ...]] = [()]
    while paths:
        path = paths.pop()
        grammar = SheetGrammar(
            with_genres(which), ("genres", "keyscale"), Sheet(), 60, closes=True, sings=False
        )
        tokens = [*grammar.forced()]
        for token in path:
            grammar.take(token)
        tokens += [*path, *(grammar.forced() if path else ())]
        text = words.decode(tokens)
        if text.endswith("\nkeyscale:"):  # the line is over, and what follows was forced
            found.add(read_sheet(text.removesuffix("keyscale:")).genres)
            assert words.ids(text) == tuple(tokens)
            continue
        allowed = grammar.allowed().tolist()
        assert allowed
        paths += [(*path, token) for token in allowed]
    assert found == SAYABLE


@both
def test_sheets_with_a_list_of_genres_have_no_dead_end(which: str) -> None:
    rng, words, seen = random.Random(9), with_genres(which).words, set()
    for _ in range(100):
        case = Case.drawn(rng)
        case = replace(case, asked=case.asked - {"caption"} | {"genres"})
        tokens = random_tokens(case.grammar(with_genres(which)), rng, ends=0.1)
        check(case, tokens, words)
        seen.add(read_sheet(words.decode(tokens)).genres)
    assert None not in seen and seen <= SAYABLE and len(seen) > 5


@pytest.mark.parametrize("genres", [(), ("", "<|im_end|>")], ids=["no list", "nothing in it"])
def test_without_a_list_genres_are_free_text(genres: tuple[str, ...]) -> None:
    words = SheetWords(shared().words, genres)
    assert words.is_free("genres") and words.is_free("caption") and not words.is_free("bpm")
    assert not with_genres("small").is_free("genres")
    rng, seen = random.Random(10), set()
    for _ in range(20):
        grammar = SheetGrammar(words, ("genres",), Sheet(), 60, closes=True, sings=False)
        text = words.words.decode(random_tokens(grammar, rng, ends=0.3))
        assert re.fullmatch(r"<think>\ngenres: \S[^\n]*\n</think>", text)
        seen.add(text)
    assert len(seen) > 10


@pytest.mark.long
def test_a_long_list_is_looked_up_where_it_is_wanted() -> None:
    """As many lines as the reference's list has; only what is asked for is made."""
    many = [f"genre {n}, mood {n % 97}" for n in range(20_000)]
    words = SheetWords(shared().words, many)
    grammar = SheetGrammar(words, ("genres",), Sheet(), 60, closes=True, sings=False)
    text = words.words.decode(random_tokens(grammar, random.Random(11)))
    assert read_sheet(text).genres in many


def test_what_is_given_is_not_looked_up() -> None:
    given = Sheet(genres="anything at all")
    grammar = SheetGrammar(with_genres("small"), (), given, 60, closes=True, sings=False)
    assert shared().words.decode(grammar.forced()) == "<think>\ngenres: anything at all\n</think>"
