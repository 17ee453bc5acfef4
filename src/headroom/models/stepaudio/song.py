"""Speech with every decision made: the result of `compose`, the input of `render`. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from headroom.models.stepaudio.text.audio_ids import GROUP, GROUP_SECONDS
from headroom.models.stepaudio.text.prompts import Edit, Variant

AROUND = 0.3  # seconds: no more silence is put around a recording
FRAME_TOKENS = 1100  # of a prompt without its texts and codes: no frame has so many bytes


@dataclass(frozen=True, slots=True)
class Drawing:
    """How codes are drawn."""

    temperature: float
    top_k: int
    top_p: float


@dataclass(frozen=True, slots=True)
class Speech:
    """One version of what was asked.

    path, field  the recording, and the field of the request that names it
    seconds      its length
    said         what is spoken in it
    target       what is to be spoken, for a clone
    edit         what is to be changed, otherwise; `passes`: how often
    groups       the most groups of codes that are written each time
    """

    task: str
    seed: int
    path: str
    field: str
    seconds: float
    said: str
    target: str
    edit: Edit | None
    passes: int
    groups: int
    drawing: Drawing
    variant: Variant

    @property
    def prompt_groups(self) -> int:
        """The most groups of codes of the recording, or of the result of an earlier pass."""
        longest = max(self.seconds, self.most_seconds if self.passes > 1 else 0.0)
        return ceil((longest + AROUND) / GROUP_SECONDS)

    @property
    def prompt_tokens(self) -> int:
        """An upper bound of the tokens of a prompt: one for each byte of a text."""
        texts = self.said + self.target + ("" if self.edit is None else self.edit.target)
        return FRAME_TOKENS + len(texts.encode()) + GROUP * self.prompt_groups

    @property
    def most_seconds(self) -> float:
        """The most that is spoken."""
        return self.groups * GROUP_SECONDS
