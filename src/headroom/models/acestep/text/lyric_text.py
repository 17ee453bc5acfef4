"""Lyrics as people paste them, with any line ends and invisible characters. No torch."""

from __future__ import annotations

import re

LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_LINE = re.compile(f"[^{LINE_ENDS}]+")
# Characters that Unicode displays as nothing (Default_Ignorable_Code_Point), blanks that are
# classified as letters or symbols (Hangul fillers, Braille), and control characters.
_UNSEEN = (
    "\x00-\x08\x0e-\x1b\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SEEN = re.compile(rf"[^\s{_UNSEEN}]")
# Without variation selectors and joiners: they change the look of an emoji before them.
_EDGE = "\\s\x00-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u2028-\u202e\u2060\ufeff"
_AT_EDGE = re.compile(f"[{_EDGE}]")
_AROUND = "[](){}<>【】（）［］「」『』《》*_~#.,:;!-–—\"' "
_NO_VOICE = frozenset(
    "inst|instrumental|instrumental music|instrumental track|instrumental version|instrumental only"
    "|instrumentals|pure music|music only|no vocals|no vocal|no voice|no lyrics|no singing"
    "|纯音乐|純音樂|纯音乐无人声|インストゥルメンタル|インスト|연주곡".split("|")
)


def is_seen(text: str) -> bool:
    """Whether any character of a text is visible."""
    return _SEEN.search(text) is not None


def has_voice(lyrics: str) -> bool:
    """Whether there are words to sing, or section marks: not if nothing is visible, and not if
    every line says that the music is instrumental, in brackets or not, in any case."""
    lines = (_seen(line[0]) for line in _LINE.finditer(lyrics))
    return any(line and line not in _NO_VOICE for line in lines)


def stripped(text: str, start: int, stop: int) -> tuple[int, int] | None:
    """The characters [start, stop) of a text without invisible ones on either side; None if nothing
    is left."""
    if not is_seen(text[start:stop]):
        return None
    while _AT_EDGE.match(text, start):
        start += 1
    while _AT_EDGE.match(text, stop - 1):
        stop -= 1
    return start, stop


def _seen(line: str) -> str:
    """The visible part of a line, in lower case and without brackets and punctuation around it; a
    line that consists only of those is kept."""
    visible = " ".join(
        "".join(c if c.isspace() or is_seen(c) else "" for c in line).split()
    ).casefold()
    return visible.strip(_AROUND) or visible
