"""Search in texts of any language: a word is found wherever its letters stand, in any script.

Texts are folded: case, width and accents make no difference. Every pair of neighbouring letters of
a word is a token of the database's full-text index, which so needs to know nothing of a language,
of where its words end, or of how short they are. The index narrows the choice, and the folded text
decides. The same holds for SQLite (FTS5) and PostgreSQL (tsvector).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Dialect, and_, column, func, literal, text
from sqlalchemy.dialects import postgresql

from headroom.errors import InvalidRequest
from headroom.jobs.tables import songs

MOST_QUERY = 200  # characters of a query
_ACCENTS = frozenset({0, 7, 8, 9})  # classes of combining marks that are letters or parts of them
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp", "Zs"})  # become spaces
_NOTHING = "Cf"  # joiners and marks of direction: dropped
_ESCAPE = "\\"


def folded(words: str) -> str:
    """A text as it is compared: without case, width, accents and vowel points, with one space
    between words."""
    apart = unicodedata.normalize("NFKD", words.encode("utf-8", "replace").decode()).casefold()
    apart = unicodedata.normalize("NFKD", apart)
    kept = (one for one in apart if unicodedata.combining(one) in _ACCENTS)
    whole = unicodedata.normalize("NFC", "".join(kept))
    seen = (_seen(one) for one in whole)
    return " ".join("".join(seen).split())


def _seen(sign: str) -> str:
    kind = unicodedata.category(sign)
    return " " if kind in _UNSEEN else "" if kind == _NOTHING else sign


def grams(told: str) -> set[str]:
    """The tokens of a folded text: its letters, and the pairs of neighbours within each word.
    They are written in digits and small letters, which no database changes."""
    found: set[str] = set()
    for word in told.split():
        found |= {_token(one) for one in word}
        found |= {_token(word[i : i + 2]) for i in range(len(word) - 1)}
    return found


def _token(letters: str) -> str:
    return "g" + "x".join(f"{ord(one):x}" for one in letters)


def indexed(
    title: str, caption: str, lyrics: str, tags: Iterable[str], dialect: Dialect
) -> dict[str, Any]:
    """The derived columns of a song: how it is sorted by name, and what a search finds it by."""
    told = folded("\n".join((title, caption, lyrics, *tags)))
    found = sorted(grams(told))
    return {
        "sorted": folded(title),
        "told": told,
        "grams": " ".join(found)
        if dialect.name == "sqlite"
        else func.array_to_tsvector(literal(found, postgresql.ARRAY(postgresql.TEXT()))),
    }


def matching(query: str, dialect: Dialect) -> ColumnElement[bool] | None:
    """The condition that every word of a query occurs in a song; None for a query without words.
    Raises InvalidRequest."""
    if len(query) > MOST_QUERY:
        raise InvalidRequest("q", query, f"at most {MOST_QUERY} characters")
    words = folded(query).split()
    if not words:
        return None
    tokens = sorted(set().union(*(_narrowing(word) for word in words)))
    parts = [songs.c.told.contains(word, autoescape=True, escape=_ESCAPE) for word in words]
    return and_(_in_index(tokens, dialect), *parts)


def _narrowing(word: str) -> set[str]:
    """The tokens that a text with this word has: the pairs, which are rarer than letters."""
    return {token for token in grams(word) if "x" in token} or grams(word)


def _in_index(tokens: list[str], dialect: Dialect) -> ColumnElement[bool]:
    if dialect.name == "sqlite":
        rows = text("SELECT rowid FROM song_grams WHERE song_grams MATCH :tokens")
        found = rows.bindparams(tokens=" AND ".join(tokens)).columns(column("rowid"))
        return songs.c.number.in_(found)
    asked = literal(" & ".join(f"'{one}'" for one in tokens))
    return songs.c.grams.op("@@")(asked.cast(postgresql.TSQUERY()))
