"""An engine limited to one card size, set up by that size's tier, under a hard memory cap.

Tensors may take what the size leaves after the driver's half GiB, and not a byte more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import torch

from headroom.device import present
from headroom.device.open import cards
from headroom.device.simulated import SimulatedDevice
from headroom.engine.engine import Engine
from headroom.errors import InvalidRequest
from headroom.hardware.machine import CONTEXT
from headroom.memory.plan import Plan, Residency, Wishes
from headroom.memory.tiers import lm_size
from headroom.models.acestep.language.language_service import BUNDLED
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.synthetic import Blank, Drawn, name_of
from headroom.models.base import AnyModel
from headroom.profiler.tiers.rows import BATCHES, Case, Work
from headroom.profiler.tiers.table import published
from headroom.settings import Settings
from headroom.units import GIB
from headroom.weights import catalog

NAMELESS = 0.5  # GiB that a card may report less than its name says


@dataclass(frozen=True, slots=True)
class Card:
    """The card a size is tested on. `word` opens it; `real`: it exists and has `total` bytes."""

    word: str
    name: str
    real: bool
    total: int


def card_for(work: Work) -> Card:
    """The requested CUDA card, if there is one of that size or larger; else a simulated one."""
    word, _, _ = work.device.lower().partition(":")
    if word in ("auto", "cuda") and "cuda" in present():
        wanted = work.device.lower() if ":" in work.device else "cuda:0"
        for known, name, total in cards():
            if known == wanted and total >= (work.vram - NAMELESS) * GIB:
                return Card(known, name, True, total)
    size = int(work.vram * GIB)
    return Card("simulated", f"a simulated card of {work.vram:g} GB", False, size)


def usual(settings: Settings) -> Settings:
    """The settings without any that contradict a tier."""
    return replace(
        settings, policy="published", offload=None, offload_dit=None, quantization="auto",
        init_lm=None, lm_model=None, lm_backend="auto", vae_on_cpu=False, decode_tile=None,
        gpu_management=False, max_duration=None, max_batch_size=None, batch_size=None,
    )  # fmt: skip


class TierEngine(Engine):
    """An engine at one size, set up by its tier except where the case deviates.

    A batch is made in one piece or does not fit, and no looser plan is tried.
    """

    def __init__(self, work: Work, case: Case, card: Card, settings: Settings) -> None:
        self._work, self._case, self.card = work, case, card
        recommended = published(work.vram).recommended
        super().__init__(
            device=card.word,
            dtype=work.dtype,
            model=work.model,
            checkpoint_dir=work.checkpoint_dir,
            compile=compiles(work, card),
            threads=work.threads,
            wishes=Wishes(whole=True),
            policy="published",
            choices=replace(case.choices, lm=recommended and name_of(recommended)),
            settings=usual(settings),
        )
        if isinstance(self.device, SimulatedDevice):
            self.device.fake = not card.real
        self.device.set_cap(self.machine.limit - CONTEXT)
        # Batches beyond the tier's limit are tried too, to find what would fit.
        if case.variant == "batch" and self.terms.tier is not None:
            most = BATCHES[-1]
            self.terms = replace(self.terms, tier=replace(self.terms.tier, batch=(most, most)))

    @cached_property
    def model(self) -> AnyModel:
        """The installed model; else its sizes, with random weights on a real card."""
        if self.installed:
            return super().model
        if self._work.model not in VARIANTS:
            raise InvalidRequest("model", self._work.model, "one of " + ", ".join(VARIANTS))
        kind = Drawn if self.card.real else Blank
        return cast("AnyModel", kind(self._work.model, self._setup))

    @cached_property
    def installed(self) -> bool:
        """Whether the real weights are installed, and are to be used."""
        if not self.card.real:
            return False
        dirs = catalog.checkpoint_dirs(self.settings, self._setup.checkpoint_dir)
        own = [item for item in catalog.installed(dirs, BUNDLED) if not item.bundled]
        dit = any(item.name == self._work.model and item.ready for item in own)
        lms = {lm_size(item.name) for item in own if item.kind == "lm" and item.whole}
        needed = any(case.use_lm for case in self._work.cases) and self.terms.lm is not None
        return dit and (not needed or self.terms.lm in lms)

    def initialise(self, plan: Plan, language: str | None) -> None:
        """Load every part of the plan, and move each to its place once; parts that an earlier plan
        left on the card are removed from it."""
        if language is not None:
            self._use(language)
        stay = [p.component for p in plan.placements if p.residency is Residency.RESIDENT]
        with self.device.inside(), torch.inference_mode():
            self._pool.make_room(stay)
            for placement in plan.placements:
                self._pool.lease((placement,))
                self._pool.give_back((placement,))
        self.device.synchronize()


def compiles(work: Work, card: Card) -> bool | None:
    """Whether to compile; None: where it pays. Never on a simulated card, and not where it is
    skipped because the tier converts nothing."""
    skipped = work.skip_compile and published(work.vram).quantization == "none"
    return work.compile if card.real and not skipped else False
