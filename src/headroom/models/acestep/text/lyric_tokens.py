"""Which tokens of the lyric prompt are sung, and in which line. No torch.

Tags in square brackets, such as `[Verse]` or `[guitar solo]`, say how to sing, not what: they are
conditions like any other token, but not part of a line.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from headroom.models.acestep.text.lyric_text import LINE_ENDS, stripped
from headroom.models.acestep.text.plain_text import unescaped
from headroom.models.acestep.text.prompts import lyrics_in

Span = tuple[int, int]
"""Half-open range of characters, or of tokens."""
LINE = re.compile(f"[^{LINE_ENDS}]+")
_INSIDE = f"[^][{LINE_ENDS}]"
# A tag in brackets, which may contain brackets up to three deep: `[[Verse]]` is one tag.
TAG = re.compile(rf"\[(?:{_INSIDE}++|\[(?:{_INSIDE}++|\[{_INSIDE}*+\])*+\])*+\]")


@dataclass(frozen=True, slots=True)
class Line:
    """The sung text of one line; its first and last token, counted from the first lyric token."""

    text: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class LyricTokens:
    """The lyrics of a prompt as tokens.

    rows   tokens [start, stop) of the prompt that are lyrics, including tags
    texts  what each of them adds to the text; a character of several tokens counts for its last
    lines  the lines with sung text that has tokens, in order
    lost   lines after the last token: the prompt was cut
    unread lines before it that have no tokens: the tokenizer knows none of their characters
    """

    rows: Span
    texts: tuple[str, ...]
    lines: tuple[Line, ...]
    lost: int
    unread: int = 0


def lyric_tokens(prompt: str, spans: Sequence[Span]) -> LyricTokens:
    """The sung tokens of a prompt. `spans[i]`: the characters of the prompt that token i covers."""
    start, stop = lyrics_in(prompt)
    prompt = unescaped(prompt)
    inside = [i for i, (a, b) in enumerate(spans) if a < stop and b > start and a < b]
    if not inside:
        count, cut = len(_parts(prompt, start, stop)), _end(spans) < stop
        return LyricTokens((0, 0), (), (), count if cut else 0, 0 if cut else count)
    rows = (inside[0], inside[-1] + 1)
    lyric_spans = spans[rows[0] : rows[1]]
    lines, lost, unread = [], 0, 0
    tokens_in, end = _Tokens(lyric_spans), _end(spans)
    for pieces in _parts(prompt, start, stop):
        tokens = [i for piece in pieces for i in tokens_in(piece)]
        if tokens:
            text = " ".join(prompt[p:q] for p, q in pieces)
            lines.append(Line(text, min(tokens), max(tokens)))
        elif pieces[0][0] >= end:
            lost += 1
        else:
            unread += 1
    return LyricTokens(rows, _texts(prompt, start, lyric_spans), tuple(lines), lost, unread)


class _Tokens:
    """Finds the tokens that cover a range of characters, in time that grows with their number."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        # The furthest end of all tokens up to each one, and the first start from each one on.
        self._ends = list(accumulate((b for _, b in spans), max))
        self._starts = list(accumulate((a for a, _ in reversed(spans)), min))[::-1]

    def __call__(self, piece: Span) -> list[int]:
        first, stop = piece
        window = range(bisect_right(self._ends, first), bisect_left(self._starts, stop))
        return [i for i in window if self._spans[i][0] < stop and self._spans[i][1] > first]


def _end(spans: Sequence[Span]) -> int:
    """The end of the last character that any token covers."""
    return max((stop for start, stop in spans if start < stop), default=0)


def _parts(prompt: str, start: int, stop: int) -> list[list[Span]]:
    """For each line with sung text: its pieces between tags, without surrounding space."""
    parts: list[list[Span]] = []
    for line in LINE.finditer(prompt, start, stop):
        tags = [edge for tag in TAG.finditer(prompt, *line.span()) for edge in tag.span()]
        edges = [line.start(), *tags, line.end()]
        between = zip(edges[::2], edges[1::2], strict=True)
        pieces = [piece for a, b in between if (piece := stripped(prompt, a, b)) is not None]
        if pieces:
            parts.append(pieces)
    return parts


def _texts(prompt: str, start: int, spans: Sequence[Span]) -> tuple[str, ...]:
    texts, end_before = [], start
    for i, (_, end) in enumerate(spans):
        unfinished = i + 1 < len(spans) and spans[i + 1][0] < end
        texts.append("" if unfinished else prompt[end_before:end])
        end_before = end_before if unfinished else max(end_before, end)
    return tuple(texts)
