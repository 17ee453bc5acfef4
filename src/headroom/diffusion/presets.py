"""How a repaint meets what surrounds it: three presets, as numbers. No torch.

Source: the released ACE-Step 1.5 sampler.
"""

from __future__ import annotations

from dataclasses import dataclass

from headroom.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class RepaintPreset:
    """How hard the kept part is held.

    injection: share of the steps after which the kept frames are put back; blend_frames: frames of
    the ramp just outside each edge (0: no blend); crossfade: seconds of fade where source samples
    replace decoded ones (None: no splice).
    """

    injection: float
    blend_frames: int
    crossfade: float | None


def repaint_preset(mode: str, strength: float = 0.5) -> RepaintPreset:
    """conservative, balanced (by `strength`: 0 holds as conservative, 1 lets go), aggressive."""
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
