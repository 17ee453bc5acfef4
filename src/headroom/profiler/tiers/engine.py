"""An engine limited to one card size, set up by that size's tier, under a hard memory cap.

Tensors may take what the size leaves after the driver's half GiB, and not a byte more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from headroom.device import present
from headroom.device.open import cards
from headroom.device.simulated import SimulatedDevice
from headroom.engine.engine import Engine
from headroom.hardware.machine import CONTEXT
from headroom.memory.plan import Plan, Residency, Wishes
from headroom.models.base import AnyModel
from headroom.models.registry import family_named
from headroom.profiler.tiers.rows import BATCHES, Case, Work
from headroom.profiler.tiers.table import published
from headroom.settings import OF_TIER, Settings
from headroom.units import GIB
from headroom.weights.catalog import checkpoint_dirs

NAMELESS = 0.5  # GiB that a card may report less than its name says


@dataclass(frozen=True, slots=True)
class Card:
    """The card a size is tested on. `word` opens it; `real`: it exists and has `total` bytes."""

    word: str
    name: str
    real: bool
    total: int


def card_for(work: Work) -> Card:
    """The requested CUDA card, of a group the first, if there is one of that size or larger; else a
    simulated one."""
    first, _, _ = work.device.lower().partition(",")
    word, _, _ = first.partition(":")
    if word in ("auto", "cuda") and "cuda" in present():
        device = first if ":" in first else "cuda:0"
        for name, description, total in cards():
            if name == device and total >= (work.vram - NAMELESS) * GIB:
                return Card(name, description, True, total)
    size = int(work.vram * GIB)
    return Card("simulated", f"a simulated card of {work.vram:g} GB", False, size)


def usual(settings: Settings) -> Settings:
    """The settings without any that contradict a tier."""
    ours = (*OF_TIER, "vae_on_cpu", "decode_tile", "max_duration", "max_batch_size", "batch_size")
    return settings.model_copy(update=dict.fromkeys(ours))


class TierEngine(Engine):
    """An engine at one size, set up by its tier except where the case deviates.

    A batch is made in one piece or does not fit, and no looser plan is tried.
    """

    def __init__(self, work: Work, case: Case, card: Card, settings: Settings) -> None:
        self._work, self._case, self.place = work, case, card
        self._known = family_named(work.family)
        self.rehearsal = self._known.rehearsal()
        recommended = published(work.vram, work.family).recommended
        super().__init__(
            device=card.word,
            dtype=work.dtype,
            model=work.model,
            checkpoint_dir=work.checkpoint_dir,
            family=work.family,
            compile=compiles(work, card),
            threads=work.threads,
            wishes=Wishes(whole=True),
            policy="published",
            lm_model=recommended and self.rehearsal.lm_name(recommended),
            settings=usual(settings),
            **case.options,
        )
        if isinstance(self.device, SimulatedDevice):
            self.device.fake = not card.real
        self._executor.caps = (self.machine.limit - CONTEXT,)
        # Batches beyond the tier's limit are tried too, to find what would fit.
        if case.variant == "batch" and self.policy.tier is not None:
            most = BATCHES[-1]
            self.policy = replace(self.policy, tier=replace(self.policy.tier, batch=(most, most)))

    @cached_property
    def model(self) -> AnyModel:
        """The installed model; else its sizes, with random weights on a real card."""
        if self.installed:
            return super().model
        return self.rehearsal.model(self._work.model, self._setup, drawn=self.place.real)

    @cached_property
    def installed(self) -> bool:
        """Whether the real weights are installed, and are to be used."""
        if not self.place.real or self._known.folders is None:
            return False
        dirs = checkpoint_dirs(self.settings, self._setup.checkpoint_dir)
        items = self._known.folders.catalogue.installed(dirs)
        ready = {item.name for item in items if item.ready and not item.bundled}
        needed = {self._work.model}
        if self.policy.lm is not None and any(case.use_lm for case in self._work.cases):
            needed.add(self.rehearsal.lm_name(self.policy.lm))
        return needed <= ready

    def initialise(self, plan: Plan) -> None:
        """Load every part of the plan, and move each to its place once; parts that an earlier plan
        left on the card are removed from it."""
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
    skipped = work.skip_compile and published(work.vram, work.family).quantization is None
    return work.compile if card.real and not skipped else False
