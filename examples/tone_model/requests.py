"""The tone family's request: each field once, with type, default, limits and help. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from headroom.params.knob import Knob, Limit, Many
from headroom.params.request import Request

SEED = Limit(0, 2**64 - 1, "a seed has 64 bits", least=0, most=2**64 - 1)
SONGS = "one run makes at most 8 tones"


class Tone(Request):
    """A tone, or several one after another."""

    task: Literal["tone"] = "tone"
    frequency: Annotated[
        float,
        Limit(20, 20_000, "nobody hears beyond it", above=0),
        Knob("Tone", "Its pitch.", unit="Hz", step=1),
    ] = 220.0
    melody: Annotated[
        Path | None,
        Knob("Tone", "A text file of pitches in Hz, one a line.", left_open="a single tone"),
    ] = None
    overtones: Annotated[
        int, Limit(0, 16, "more are above hearing", least=0), Knob("Tone", "How many.")
    ] = 3
    brightness: Annotated[
        float, Limit(0, 1, "it is a share", least=0), Knob("Tone", "Level of each overtone.")
    ] = 0.3
    duration: Annotated[
        float | None,
        Limit(0.1, 600, "a longer tone is tiring", above=0),
        Knob(
            "Tone", "Its length.", unit="s", left_open="nobody", stand_in=2.0, role="seconds",
            old=("length",),
        ),
    ] = None  # fmt: skip
    steps: Annotated[int, Limit(1, 100, "more change nothing", least=1), Knob("Tone", "Steps.")] = 4
    batch_size: Annotated[
        int, Limit(1, 8, SONGS, least=1), Knob("Output", "Tones at once.", role="count")
    ] = 1
    seed: Annotated[
        int | None, SEED, Knob("Output", "Same seed, same tone.", left_open="drawn at random")
    ] = None
    seeds: Annotated[
        tuple[Annotated[int, SEED], ...],
        Many(","),
        Limit(0, 8, SONGS, follows="batch_size"),
        Knob("Output", "A seed for each tone, instead of one."),
    ] = ()

    @property
    def songs(self) -> int:
        """Number of tones requested."""
        return max(self.batch_size, len(self.seeds))
