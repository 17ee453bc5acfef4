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
from headroom.models.acestep.text.plain_text import shown
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
class Sung:
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


def sung(prompt: str, spans: Sequence[Span]) -> Sung:
    """The sung tokens of a prompt. `spans[i]`: the characters of the prompt that token i covers."""
    start, stop = lyrics_in(prompt)
    prompt = shown(prompt)
    inside = [i for i, (a, b) in enumerate(spans) if a < stop and b > start and a < b]
    if not inside:
        count, cut = len(_parts(prompt, start, stop)), _end(spans) < stop
        return Sung((0, 0), (), (), count if cut else 0, 0 if cut else count)
    rows = (inside[0], inside[-1] + 1)
    own = spans[rows[0] : rows[1]]
    lines, lost, unread = [], 0, 0
    tokens_in, end = _Tokens(own), _end(spans)
    for pieces in _parts(prompt, start, stop):
        found = [i for piece in pieces for i in tokens_in(piece)]
        if found:
            text = " ".join(prompt[p:q] for p, q in pieces)
            lines.append(Line(text, min(found), max(found)))
        elif pieces[0][0] >= end:
            lost += 1
        else:
            unread += 1
    return Sung(rows, _texts(prompt, start, own), tuple(lines), lost, unread)


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
    found: list[list[Span]] = []
    for line in LINE.finditer(prompt, start, stop):
        tags = [edge for tag in TAG.finditer(prompt, *line.span()) for edge in tag.span()]
        edges = [line.start(), *tags, line.end()]
        between = zip(edges[::2], edges[1::2], strict=True)
        pieces = [piece for a, b in between if (piece := stripped(prompt, a, b)) is not None]
        if pieces:
            found.append(pieces)
    return found


def _texts(prompt: str, start: int, spans: Sequence[Span]) -> tuple[str, ...]:
    found, said = [], start
    for i, (_, end) in enumerate(spans):
        unfinished = i + 1 < len(spans) and spans[i + 1][0] < end
        found.append("" if unfinished else prompt[said:end])
        said = said if unfinished else max(said, end)
    return tuple(found)
