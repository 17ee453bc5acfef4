"""What each task gives the DiT: its instruction, its source channels and its mask. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class SourceChannels(Enum):
    """The content of the 64 source channels."""

    SILENCE = "silence"
    LATENTS = "the source's latents"
    HINTS = "the source's latents through the 5 Hz codes, or codes that were given"
    OUTSIDE = "the source's latents, silence inside the region"


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the task table. `alone` is the instruction without a track."""

    name: str
    instruction: str
    alone: str
    source: SourceChannels
    region: bool  # the mask is 1 inside the region and 0 outside; else 1 everywhere
    needs_sound: bool  # whether a silent source is refused

    def instruct(self, tracks: Sequence[str]) -> str:
        """The instruction with the track names filled in, upper-cased and joined."""
        if not tracks:
            return self.alone
        return self.instruction.format(tracks=" | ".join(track.upper() for track in tracks))


GENERATE = "Fill the audio semantic mask based on the given conditions:"
SEMANTIC = "Generate audio semantic tokens based on the given conditions:"
REPAINT = "Repaint the mask area based on the given conditions:"

TASKS = {
    task.name: task
    for task in (
        Task("text2music", GENERATE, GENERATE, SourceChannels.SILENCE, False, False),
        Task("cover", SEMANTIC, SEMANTIC, SourceChannels.HINTS, False, True),
        Task("repaint", REPAINT, REPAINT, SourceChannels.OUTSIDE, True, False),
        Task(
            "lego",
            "Generate the {tracks} track based on the audio context:",
            "Generate the track based on the audio context:",
            SourceChannels.LATENTS,
            True,
            False,
        ),
        Task(
            "extract",
            "Extract the {tracks} track from the audio:",
            "Extract the track from the audio:",
            SourceChannels.LATENTS,
            False,
            True,
        ),
        Task(
            "complete",
            "Complete the input track with {tracks}:",
            "Complete the input track:",
            SourceChannels.LATENTS,
            False,
            True,
        ),
    )
}
