"""ACE-Step 1.5's published tiers, and the sizes of its language models. No torch.

Source: ACE-Step 1.5's guide to GPU compatibility, 2026-02-10. GB there means GiB. Real cards report
slightly less than their nominal size, so each upper class begins half a GiB early; 4 and 6 belong
to the lower class, as in the guide's own examples.
"""

from __future__ import annotations

import math

from headroom.memory.tiers import Tier, Tiers

LM_SIZES = ("0.6B", "1.7B", "4B")
LM_NAMES = tuple(f"acestep-5Hz-lm-{size}" for size in LM_SIZES)
_PT, _ALL = "pt_mlx_only", "all"
_SMALL, _MIDDLE = LM_SIZES[:1], LM_SIZES[:2]
_ROWS = (
    Tier("tier1", 4, 4, (), None, "pt", _PT, (240, 360), (1, 1), "cpu+dit", "int8", closed=True),
    Tier("tier2", 6, 6, (), None, "pt", _PT, (480, 600), (1, 1), "cpu+dit", "int8", closed=True),
    Tier("tier3", 6.5, 7.5, _SMALL, "0.6B", "pt", _PT, (480, 600), (1, 2), "cpu+dit", "int8"),
    Tier("tier4", 8, 11.5, _SMALL, "0.6B", "vllm", _ALL, (480, 600), (2, 4), "cpu+dit", "int8"),
    Tier("tier5", 12, 15.5, _MIDDLE, "1.7B", "vllm", _ALL, (480, 600), (2, 4), "cpu", "int8"),
    Tier("tier6a", 16, 19.5, _MIDDLE, "1.7B", "vllm", _ALL, (480, 600), (4, 8), "cpu", "int8"),
    Tier("tier6b", 20, 23.5, LM_SIZES, "1.7B", "vllm", _ALL, (480, 480), (4, 8), "none", None),
    Tier("unlimited", 24, math.inf, LM_SIZES, "4B", "vllm", _ALL, (600, 600), (8, 8), "none", None),
)
TIERS = Tiers(_ROWS, LM_SIZES, older={"tier6": "tier6b"})
lm_size = TIERS.lm_size


def tier_of(gibibytes: float) -> Tier:
    """The tier of a card of that size; without a card, the first tier."""
    tier = TIERS.of(gibibytes)
    assert tier is not None
    return tier
