"""Audio codes and the ids they have in each place. No torch.

Speech is two streams of codes: `linguistic` ones, 1024 of them at 16.67 Hz, and `semantic` ones,
4096 of them at 25 Hz. The language model writes them as groups of two and three:

    place                              linguistic code c    semantic code s
    `<audio_k>` in a text              k = c                k = 1024 + s
    id of the language model           65536 + c            66560 + s
    row of the flow's table            c; 1024 pads         1025 + s
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LINGUISTIC, SEMANTIC = 1024, 4096  # codes
USED_CODES = LINGUISTIC + SEMANTIC
AUDIO_START = 65_536  # id of `<audio_0>`
SEMANTIC_START = AUDIO_START + LINGUISTIC
AUDIO_STOP = AUDIO_START + USED_CODES
PAIR, TRIPLE = 2, 3  # linguistic and semantic codes of a group
GROUP = PAIR + TRIPLE
GROUP_SECONDS = 0.12
PAD_ROW = LINGUISTIC  # row of the flow's table for a place without a linguistic code
SEMANTIC_ROW = PAD_ROW + 1  # row of semantic code 0
FLOW_ROWS = SEMANTIC_ROW + SEMANTIC


@dataclass(frozen=True, slots=True)
class Codes:
    """The two streams of a recording. Raises ValueError for a code out of range."""

    linguistic: tuple[int, ...]
    semantic: tuple[int, ...]

    def __post_init__(self) -> None:
        for codes, count in ((self.linguistic, LINGUISTIC), (self.semantic, SEMANTIC)):
            if codes and not 0 <= min(codes) <= max(codes) < count:
                raise ValueError(f"codes from {min(codes)} to {max(codes)}, of {count}")

    @property
    def groups(self) -> int:
        """Whole groups; what is left of the longer stream is not used."""
        return min(len(self.linguistic) // PAIR, len(self.semantic) // TRIPLE)

    @property
    def seconds(self) -> float:
        """The length of the whole groups."""
        return self.groups * GROUP_SECONDS

    def woven(self) -> Iterator[int]:
        """The codes group by group: two linguistic ones, three semantic ones from 1024 on."""
        for group in range(self.groups):
            yield from self.linguistic[PAIR * group : PAIR * (group + 1)]
            for code in self.semantic[TRIPLE * group : TRIPLE * (group + 1)]:
                yield LINGUISTIC + code

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of the language model."""
        return tuple(AUDIO_START + code for code in self.woven())

    @property
    def text(self) -> str:
        """The codes within a prompt."""
        return "".join(map(piece_of, self.woven()))

    def rows(self) -> tuple[tuple[int, int], ...]:
        """Rows of the flow's table, a pair every 40 ms: (c, s), (c, s), (pad, s) for each group."""
        pairs = []
        for group in range(self.groups):
            left = (*self.linguistic[PAIR * group : PAIR * (group + 1)], PAD_ROW)
            right = self.semantic[TRIPLE * group : TRIPLE * (group + 1)]
            pairs += [(a, SEMANTIC_ROW + b) for a, b in zip(left, right, strict=True)]
        return tuple(pairs)


def piece_of(code: int) -> str:
    """The piece of a code, counted over both streams."""
    return f"<audio_{code}>"


def codes_of(ids: Sequence[int]) -> Codes:
    """The codes of whole groups of ids. Raises ValueError for ids that are no such groups."""
    linguistic, semantic = list[int](), list[int]()
    for place, number in enumerate(ids):
        first = place % GROUP < PAIR
        code = number - (AUDIO_START if first else SEMANTIC_START)
        if not 0 <= code < (LINGUISTIC if first else SEMANTIC):
            raise ValueError(f"id {number} at place {place} of groups of {PAIR} and {TRIPLE}")
        (linguistic if first else semantic).append(code)
    if len(ids) % GROUP:
        raise ValueError(f"{len(ids)} ids are no whole groups of {GROUP}")
    return Codes(tuple(linguistic), tuple(semantic))
