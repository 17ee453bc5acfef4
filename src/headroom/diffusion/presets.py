"""Repaint presets: how the new part joins the audio around it, as numbers. No torch.

Source: the released ACE-Step 1.5 sampler.
"""

from __future__ import annotations

from dataclasses import dataclass

from headroom.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class RepaintPreset:
    """How strictly the kept part is preserved.

    injection: fraction of the steps after which the kept frames are restored; blend_frames: length
    of the ramp just outside each edge, in frames (0: no blend); crossfade: seconds of fade where
    source samples replace decoded ones (None: no splice).
    """

    injection: float
    blend_frames: int
    crossfade: float | None


def repaint_preset(mode: str, strength: float = 0.5) -> RepaintPreset:
    """The preset of a mode: conservative, balanced or aggressive.

    `strength` matters for balanced only: 0 preserves as much as conservative, 1 nothing.
    """
    if not 0 <= strength <= 1:
        raise InvalidRequest("repaint_strength", strength, "a number from 0 to 1")
    hold = 1 - strength
    match mode:
        case "conservative":
            return RepaintPreset(1.0, 25, 0.05)
        case "balanced":
            return RepaintPreset(hold, round(25 * hold), 0.05 * hold)
        case "aggressive":
            return RepaintPreset(0.0, 0, None)
    raise InvalidRequest("repaint_mode", mode, "conservative, balanced, aggressive")
