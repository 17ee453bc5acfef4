"""The words of the guides' tables in every language.

A phrase is looked up by the English that stands in the code, so one that changes there has no
translation until somebody writes it anew.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

FILE = Path(__file__).with_name("words.toml")
ENGLISH, PAGE = "en", "page"
LANGUAGES = (ENGLISH, "zh", "ko", "pt")
Words: TypeAlias = Callable[[str], str]


@cache
def phrases() -> Mapping[str, Mapping[str, str]]:
    """English -> language -> words. Raises ValueError for a phrase that is there twice."""
    found: dict[str, Mapping[str, str]] = {}
    for phrase in tomllib.loads(FILE.read_text("utf-8"))["phrase"]:
        if phrase[ENGLISH] in found:
            raise ValueError(f"{FILE.name} has {phrase[ENGLISH]!r} twice")
        found[phrase[ENGLISH]] = phrase
    return found


def words(language: str) -> Words:
    """What says a phrase in a language.

    It raises KeyError, naming the phrase, for one that is not in words.toml.
    """

    def say(english: str) -> str:
        try:
            phrase = phrases()[english]
            return phrase.get(PAGE, english) if language == ENGLISH else phrase[language]
        except KeyError:
            raise KeyError(f"{FILE.name} has no {language!r} for {english!r}") from None

    return say


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
                     for row in lines)  # fmt: skip
