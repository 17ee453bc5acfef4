"""Lines and their tokens: what was written comes back, in every script, and tags do not."""

from __future__ import annotations

import random
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers, processors, trainers
from tokenizers.models import BPE

from headroom.models.acestep.text.lyric_tokens import TAG, LyricTokens, lyric_tokens
from headroom.models.acestep.text.prompts import (
    LYRIC_TOKENS,
    PromptTokenizer,
    lyric_prompt,
    lyrics_in,
)
from support.tokenizer import END, byte_tokenizer

BYTES = PromptTokenizer(byte_tokenizer())


def merging() -> PromptTokenizer:
    """Tokens of several letters, which may end in a line break or within a letter."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = "la la la],\n\n[Verse]\n海の歌 海の歌\n# Lyric\nla la la,\nsea,\n"
    tokenizer.train_from_iterator([text] * 9, trainer)
    end = tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, end)]
    )
    return PromptTokenizer(tokenizer)


MERGING = merging()
TOKENIZERS = pytest.mark.parametrize("tokenizer", [BYTES, MERGING], ids=["bytes", "merging"])


def read(lyrics: str, tokenizer: PromptTokenizer, language: str = "en") -> LyricTokens:
    prompt = lyric_prompt(language, lyrics)
    return lyric_tokens(prompt, tokenizer.lyric_spans(prompt))


def lines(lyrics: str, tokenizer: PromptTokenizer = BYTES) -> list[str]:
    return [line.text for line in read(lyrics, tokenizer).lines]


@TOKENIZERS
@pytest.mark.parametrize(
    ("lyrics", "found"),
    [
        ("la la\nthe sea", ["la la", "the sea"]),
        ("[Verse]\nla la\n\n[Chorus - loud]\nthe sea\n", ["la la", "the sea"]),
        ("[Verse 1] la la\nthe [solo] sea [x]\n", ["la la", "the sea"]),
        ("海の歌を歌う\n(oh, 是的)\nдождь", ["海の歌を歌う", "(oh, 是的)", "дождь"]),
        ("la la\r\n  the sea  \r\n", ["la la", "the sea"]),
        ("🎵 la 🎵\n", ["🎵 la 🎵"]),
        ("la la la,\n\n\nsea,\n[Verse", ["la la la,", "sea,", "[Verse"]),
        ("la\rsea\r\nla\x85sea\u2028la\u2029sea\vla\fsea\x1ela", ["la", "sea"] * 4 + ["la"]),
        ("[[Verse]]\nla [[x] y] sea\n[[[Chorus]]]", ["la sea"]),
        ("la\n\u200b\n\ufeff \u2060\n\u3164\n\u2800\n\U000e0041\nsea", ["la", "sea"]),
        ("\u200b la \ufeff\n\u200e[Verse]\u200f", ["la"]),
        ("la \u2600\ufe0f", ["la \u2600\ufe0f"]),
        ("a <|endoftext|> b\n<3\n<|im_end|>", ["a <|endoftext|> b", "<3", "<|im_end|>"]),
        ("", []),
        ("  \n\n", []),
        ("[Instrumental]", []),
        ("[Verse]\n[Chorus]\n", []),
    ],
)
def test_lines_are_what_is_sung(lyrics: str, found: list[str], tokenizer: PromptTokenizer) -> None:
    read_back = read(lyrics, tokenizer)
    assert [line.text for line in read_back.lines] == found
    assert read_back.lost == read_back.unread == 0


@TOKENIZERS
@given(lyrics=st.text(st.sampled_from("ab ,[]\n海歌é🎵"), max_size=60))
@settings(max_examples=60, deadline=None)
def test_every_text_comes_back(lyrics: str, tokenizer: PromptTokenizer) -> None:
    found = read(lyrics, tokenizer)
    written = [" ".join(p for part in TAG.split(x) if (p := part.strip())) for x in
               lyrics.split("\n")]  # fmt: skip
    assert [line.text for line in found.lines] == [line for line in written if line]
    start, stop = found.rows
    assert len(found.texts) == stop - start
    assert "".join(found.texts).rstrip(" ") == lyrics.rstrip(" ")
    assert all(0 <= line.first <= line.last < len(found.texts) for line in found.lines)
    starts = [line.first for line in found.lines]
    assert starts == sorted(starts)


@TOKENIZERS
def test_the_tokens_of_a_line_say_it(tokenizer: PromptTokenizer) -> None:
    found = read("[Verse]\nla la la,\n\n海の歌\nsea,\n", tokenizer)
    for line in found.lines:
        said = "".join(found.texts[line.first : line.last + 1])
        assert line.text in said and len(said) <= len(line.text) + 3, (line, said)


def test_a_letter_belongs_to_the_last_of_its_tokens() -> None:
    assert read("a海é", BYTES).texts == ("a", "", "", "海", "", "é")


@TOKENIZERS
def test_rows_are_those_of_the_lyrics_alone(tokenizer: PromptTokenizer) -> None:
    prompt = lyric_prompt("zh", "la la\nthe sea")
    spans = tokenizer.lyric_spans(prompt)
    assert len(spans) == len(tokenizer.lyrics(prompt))
    start, stop = read("la la\nthe sea", tokenizer, "zh").rows
    before, behind = spans[:start], spans[stop:]
    at, end = lyrics_in(prompt)
    assert prompt[at:end] == "la la\nthe sea"
    assert all(b <= at for _, b in before) and all(a >= end or a == b for a, b in behind)
    assert len(behind) == 2  # the marker, and the appended one


def test_lines_beyond_what_the_model_reads_are_lost_and_counted() -> None:
    found = read("\n".join(f"line {n} of a song" for n in range(200)), BYTES)
    assert len(found.lines) + found.lost == 200 and found.lost > 50
    assert found.lines[0].text == "line 0 of a song"
    assert found.rows[1] == LYRIC_TOKENS - 1


def dropping(known: str) -> PromptTokenizer:
    """A tokenizer that knows these letters and nothing of others."""
    tokenizer = Tokenizer(BPE(vocab={letter: n for n, letter in enumerate(known)}, merges=[]))
    tokenizer.add_special_tokens([END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return PromptTokenizer(tokenizer)


def test_lines_whose_letters_a_tokenizer_drops_are_counted_and_move_no_other() -> None:
    found = read("ab\n海の歌\nba 海 b\n海\na", dropping("ab \n"))
    assert [line.text for line in found.lines] == ["ab", "ba 海 b", "a"]
    assert (found.unread, found.lost) == (2, 0)
    said = ["".join(found.texts[line.first : line.last + 1]) for line in found.lines]
    assert [text.replace("\n", "").lstrip("海の歌") for text in said] == ["ab", "ba 海 b", "a"]
    assert read("海\n歌", dropping("ab \n")).unread == 2
    long = "ab\n海\n" * 2000
    cut = read(long, dropping("ab\n"))
    assert len(cut.lines) + cut.lost + cut.unread == 4000
    assert (cut.unread, cut.lost) == (len(cut.lines) - 1, 4000 - 2 * len(cut.lines) + 1)


def test_what_is_no_lyric_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="substring"):
        lyrics_in("la la")


def slowly(prompt: str, spans: list[tuple[int, int]], text: str) -> tuple[int, int]:
    """First and last token of a text that stands once in a prompt, by looking at every token."""
    first, stop = prompt.index(text), prompt.index(text) + len(text)
    found = [i for i, (a, b) in enumerate(spans) if a < stop and b > first]
    return found[0], found[-1]


def test_tokens_of_a_line_are_found_in_any_order_of_their_spans() -> None:
    chance = random.Random(5)
    prompt = lyric_prompt("en", "\n".join(f"word {n} la" for n in range(30)))
    start, stop = lyrics_in(prompt)
    for _ in range(40):
        cuts = sorted(chance.sample(range(start, stop), 40))
        spans = [(a, b + chance.choice((0, 0, 2))) for a, b in pairwise(cuts)]
        chance.shuffle(spans)
        spans = [span for span in spans if span[0] < stop and span[1] > start]
        found = lyric_tokens(prompt, spans)
        for line in found.lines:
            assert (line.first, line.last) == slowly(prompt, spans, line.text)
        assert len(found.lines) + found.lost + found.unread == 30


def test_the_work_grows_with_the_lyrics_and_not_with_their_square() -> None:
    prompt = lyric_prompt("en", "a\n" * 2000)
    spans = [(at, at + 1) for at in range(len(prompt))]
    steps = 0

    def step(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(step)
    try:
        assert len(lyric_tokens(prompt, spans).lines) == 2000
    finally:
        sys.setprofile(None)
    assert steps < 200 * 2000
