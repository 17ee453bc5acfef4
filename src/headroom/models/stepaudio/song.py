"""Speech with every decision made: the result of `compose`, the input of `render`. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from headroom.models.stepaudio.text.audio_ids import GROUP, GROUP_SECONDS
from headroom.models.stepaudio.text.prompts import Edit, Variant

PAUSE = 0.2  # seconds of silence between the parts of a long text
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
    parts        of the text that is to be spoken, one after another; for an edit without a clone ""
    clones       whether each part is spoken in the voice of the recording first
    edit         what is changed in it; `passes`: how often, each time from the last result
    groups       the most groups of codes that are written each time
    """

    task: str
    seed: int
    path: str
    field: str
    seconds: float
    said: str
    parts: tuple[str, ...]
    clones: bool
    edit: Edit | None
    passes: int
    groups: int
    drawing: Drawing
    variant: Variant

    @property
    def turns(self) -> int:
        """How often speech is made of each part: as a clone, and by each pass of the edit."""
        return self.clones + self.passes

    def edit_in(self, turn: int) -> Edit | None:
        """What is changed in a turn, counted from 0; None: a clone is made."""
        return None if self.clones and turn == 0 else self.edit

    def said_in(self, part: str, turn: int) -> str:
        """What is spoken in the sound that a turn begins with."""
        if turn == 0:
            return self.said
        if self.edit is not None and self.edit.target and turn > self.clones:
            return self.edit.target
        return part if self.clones else self.said

    @property
    def prompt_groups(self) -> int:
        """The most groups of codes of the recording, or of the result of an earlier turn."""
        longest = max(self.seconds, self.part_seconds if self.turns > 1 else 0.0)
        return ceil((longest + AROUND) / GROUP_SECONDS)

    @property
    def prompt_tokens(self) -> int:
        """An upper bound of the tokens of a prompt: one for each byte of a text."""
        longest = max(self.parts, key=lambda part: len(part.encode()))
        target = "" if self.edit is None else self.edit.target
        texts = max(self.said, longest, target, key=lambda text: len(text.encode()))
        texts += max(longest, target, key=lambda text: len(text.encode()))
        return FRAME_TOKENS + len(texts.encode()) + GROUP * self.prompt_groups

    @property
    def part_seconds(self) -> float:
        """The most that is spoken of a part."""
        return self.groups * GROUP_SECONDS

    @property
    def most_seconds(self) -> float:
        """The most that is spoken."""
        return len(self.parts) * (self.part_seconds + PAUSE) - PAUSE
