"""Cuts long texts at the ends of sentences, into parts that are spoken in about 20 s. No torch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

PART_SECONDS = 20.0  # of speech: the model was made for parts of at most 30 s
_CHARACTERS = 4.5  # a second, of scripts whose characters are syllables or words
_LETTERS = 14.0  # a second, of all others
_WIDE = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_ENDS = (
    re.compile(r"(?<=[。！？…；\n])\s*|(?<=[.!?;])[\"'”’)\]]*\s+"),  # of sentences
    re.compile(r"(?<=[，、：,:—])\s*"),  # of clauses
    re.compile(r"\s+"),  # of words
)


def spoken_seconds(text: str) -> float:
    """About how long a text takes to be spoken."""
    wide = len(_WIDE.findall(text))
    return wide / _CHARACTERS + (len(text) - wide) / _LETTERS


def parts_of(text: str, most: float = PART_SECONDS) -> tuple[str, ...]:
    """A text in parts of at most `most` seconds: cut at the ends of sentences, in a longer sentence
    at those of clauses, then of words, then anywhere. A tag such as `[Sigh]` is never cut."""
    parts: list[str] = []
    for piece in _pieces(text.strip(), most, 0):
        if parts and spoken_seconds(parts[-1] + piece) <= most:
            parts[-1] += piece
        else:
            parts.append(piece)
    return tuple(part for part in map(str.strip, parts) if part)


def _pieces(text: str, most: float, level: int) -> Iterator[str]:
    """The text in order, whole where it is short enough, otherwise cut at ends of this level."""
    if spoken_seconds(text) <= most:
        yield text
    elif level == len(_ENDS):
        yield from _anywhere(text, most)
    else:
        start = 0
        for end in _ENDS[level].finditer(text):
            if end.end() > start:
                yield from _pieces(text[start : end.end()], most, level + 1)
                start = end.end()
        if start < len(text):
            yield from _pieces(text[start:], most, level + 1)


def _anywhere(text: str, most: float) -> Iterator[str]:
    """Characters with the marks that combine with them, and tags, joined up to the length."""
    whole = ""
    for one in re.findall(r"\[[A-Za-z-]+\]|.", text, re.DOTALL):
        if whole and not unicodedata.combining(one[0]) and spoken_seconds(whole + one) > most:
            yield whole
            whole = ""
        whole += one
    if whole:
        yield whole


_SCRIPTS = ("LATIN", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "MODIFIER")


def unread_letters(text: str) -> str:
    """The letters of scripts that the model was not made for, where most letters of a text are of
    such; empty otherwise."""
    letters = [letter for letter in text if letter.isalpha()]
    foreign = [letter for letter in letters if not _is_read(letter)]
    return "".join(foreign) if 2 * len(foreign) > len(letters) else ""


def _is_read(letter: str) -> bool:
    name = unicodedata.name(letter, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    return name.startswith(_SCRIPTS)
