"""What a family's published tiers are: the limits and defaults promised for each class of card. No
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Offload = Literal["cpu+dit", "cpu", "none"]
_NO_NAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Tier:
    """One row of the table.

    upto         cards below this many GiB belong here; `closed`: up to and including it
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
    closed: bool = False

    @property
    def init_lm(self) -> bool:
        """Whether the language model is loaded by default."""
        return bool(self.lms)

    @property
    def label(self) -> str:
        """The tier's name for the user."""
        return self.name.replace("tier", "tier ") if self.name != "unlimited" else "unlimited"


@dataclass(frozen=True, slots=True)
class Tiers:
    """The tiers that a family publishes, of the smallest cards first, and its language models.

    lm_sizes  the sizes of its language models, as their names state them, the smallest first
    older     older names of tiers

    A family that publishes none has no `rows`, and one without language models no `lm_sizes`.
    """

    rows: tuple[Tier, ...] = ()
    lm_sizes: tuple[str, ...] = ()
    older: Mapping[str, str] = field(default_factory=lambda: _NO_NAMES)

    def of(self, gibibytes: float) -> Tier | None:
        """The tier of a card of that size; None: none is published."""
        for tier in self.rows:
            if gibibytes < tier.upto or (tier.closed and gibibytes == tier.upto):
                return tier
        return self.rows[-1] if self.rows else None

    def named(self, name: str) -> Tier:
        """A tier by its name, older names included. Raises KeyError that lists the known names."""
        current = self.older.get(name, name)
        for tier in self.rows:
            if tier.name == current:
                return tier
        raise KeyError(f"no tier {name!r} in {[tier.name for tier in self.rows]}")

    def lm_size(self, name: str) -> str | None:
        """The size stated in a language model's name: `acestep-5Hz-lm-1.7B` → `1.7B`."""
        return next((size for size in self.lm_sizes if size.lower() in name.lower()), None)


NO_TIERS = Tiers()
