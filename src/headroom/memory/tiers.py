"""List the published tiers: the limits and defaults promised for each class of card. No torch.

Source: ACE-Step 1.5's guide to GPU compatibility, 2026-02-10. GB there means GiB. Real cards report
slightly less than their nominal size, so each upper class begins half a GiB early; 4 and 6 belong
to the lower class, as in the guide's own examples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Offload = Literal["cpu+dit", "cpu", "none"]
LM_SIZES = ("0.6B", "1.7B", "4B")
LM_NAMES = tuple(f"acestep-5Hz-lm-{size}" for size in LM_SIZES)


@dataclass(frozen=True, slots=True)
class Tier:
    """One row of the table.

    upto         cards below this many GiB belong here (tiers 1 and 2: up to and including it)
    lower        its smallest card, in GiB, as named in the table
    lms          sizes of the language models it may load
    recommended  the size it offers by default
    backends     all, or pt_mlx_only
    seconds, batch  upper limits, with the language model and without
    offload      what leaves the card while idle
    """

    name: str
    lower: float
    upto: float
    lms: tuple[str, ...]
    recommended: str | None
    backend: str
    backends: str
    seconds: tuple[int, int]
    batch: tuple[int, int]
    offload: Offload
    quantization: str | None
    compile: bool = True

    @property
    def init_lm(self) -> bool:
        """Whether the language model is loaded by default."""
        return bool(self.lms)

    @property
    def label(self) -> str:
        """The tier's name for the user."""
        return self.name.replace("tier", "tier ") if self.name != "unlimited" else "unlimited"


_PT, _ALL = "pt_mlx_only", "all"
_SMALL, _MIDDLE = LM_SIZES[:1], LM_SIZES[:2]
TIERS: tuple[Tier, ...] = (
    Tier("tier1", 4, 4, (), None, "pt", _PT, (240, 360), (1, 1), "cpu+dit", "int8"),
    Tier("tier2", 6, 6, (), None, "pt", _PT, (480, 600), (1, 1), "cpu+dit", "int8"),
    Tier("tier3", 6.5, 7.5, _SMALL, "0.6B", "pt", _PT, (480, 600), (1, 2), "cpu+dit", "int8"),
    Tier("tier4", 8, 11.5, _SMALL, "0.6B", "vllm", _ALL, (480, 600), (2, 4), "cpu+dit", "int8"),
    Tier("tier5", 12, 15.5, _MIDDLE, "1.7B", "vllm", _ALL, (480, 600), (2, 4), "cpu", "int8"),
    Tier("tier6a", 16, 19.5, _MIDDLE, "1.7B", "vllm", _ALL, (480, 600), (4, 8), "cpu", "int8"),
    Tier("tier6b", 20, 23.5, LM_SIZES, "1.7B", "vllm", _ALL, (480, 480), (4, 8), "none", None),
    Tier("unlimited", 24, math.inf, LM_SIZES, "4B", "vllm", _ALL, (600, 600), (8, 8), "none", None),
)
ALIASES = {"tier6": "tier6b"}
_CLOSED = ("tier1", "tier2")  # their upper edge belongs to them


def tier_of(gibibytes: float) -> Tier:
    """The tier of a card of that size; without a card, the first tier."""
    for tier in TIERS:
        if gibibytes < tier.upto or (tier.name in _CLOSED and gibibytes == tier.upto):
            return tier
    return TIERS[-1]


def tier_named(name: str) -> Tier:
    """A tier by its name, older names included. Raises KeyError that lists the known names."""
    wanted = ALIASES.get(name, name)
    for tier in TIERS:
        if tier.name == wanted:
            return tier
    raise KeyError(f"no tier {name!r} in {[tier.name for tier in TIERS]}")


def lm_size(name: str) -> str | None:
    """The size stated in a language model's name: `acestep-5Hz-lm-1.7B` → `1.7B`."""
    return next((size for size in LM_SIZES if size.lower() in name.lower()), None)
