"""Resolve the policy on this machine: what its published tier fixes, or the planner decides.

There are two policies: `published` applies the tier's row of the family's table unless the user
overrides it; `adaptive` leaves everything to the planner, and is what is in force for a family that
publishes no tiers. A note explains each request that cannot be met.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headroom.hardware.machine import Machine
from headroom.memory.footprint import Component, Footprint
from headroom.memory.plan import Residency, Wish, Wishes
from headroom.memory.precision import NATIVE, SPELLINGS
from headroom.memory.tiers import NO_TIERS, Tier, Tiers
from headroom.params.clamp import Note
from headroom.params.knob import Limit, Role
from headroom.reasons import Reason, reason
from headroom.settings import Options, PolicyName
from headroom.units import GIB

LEAVING = (Residency.SWAPPED, Residency.STREAMED, Residency.HOST)


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy in force on a machine, with the decisions it makes there.

    offload, offload_dit, quantization  None: the planner decides
    lm     size of the language model; `lms`: the sizes to choose from, the preferred one first
    lm_loop what writes its codes, as named by `headroom.lm.backend`
    lm_off why none is loaded by default, if that is known
    notes  requests that are met differently
    tiers  the family's table, which `tier` is from
    """

    name: PolicyName
    tier: Tier | None
    offload: bool | None
    offload_dit: bool | None
    quantization: str | None
    compile: bool | None
    lm: str | None
    lm_loop: str
    init_lm: bool
    notes: tuple[Note, ...] = ()
    lms: tuple[str, ...] = ()
    lm_off: Reason | None = None
    tiers: Tiers = NO_TIERS

    def wishes(self, footprint: Footprint) -> Wishes:
        """The policy as wishes for the planner."""
        return Wishes(components=tuple(self._wish(part) for part in footprint.components))

    def limits(
        self,
        uses_lm: bool,
        most_seconds: tuple[str, float] | None = None,
        most_songs: tuple[str, float] | None = None,
    ) -> Mapping[Role, Limit]:
        """Limits of a song's length (s) and of the number of songs at once, each with its reason.

        `most_…` are upper limits from settings, with the setting's name; they tighten both
        policies.
        """
        seconds: list[tuple[float, Reason]] = []
        songs: list[tuple[float, Reason]] = []
        if self.tier is not None and self.name == "published":
            column, suffix = (0, "with_lm") if uses_lm else (1, "without_lm")
            for caps, unit, most in (
                (seconds, "seconds", self.tier.seconds[column]),
                (songs, "songs", self.tier.batch[column]),
            ):
                why = reason(f"tier_{unit}_{suffix}", tier=self.tier.label, most=most)
                caps.append((most, why))
        for caps, cap in ((seconds, most_seconds), (songs, most_songs)):
            if cap is not None:
                why = reason("setting_limits", setting=cap[0], most=cap[1])
                caps.append((cap[1], why))
        limits: dict[Role, list[tuple[float, Reason]]] = {"seconds": seconds, "count": songs}
        return {role: Limit(-math.inf, *min(caps)) for role, caps in limits.items() if caps}

    def _wish(self, part: Component) -> Wish:
        leaves = self.offload_dit if part.core else self.offload
        where: tuple[Residency, ...] = ()
        if leaves is not None:
            where = LEAVING[:2] if leaves else (Residency.RESIDENT,)
        return Wish(part.name, where, self._precisions(part))

    def _precisions(self, part: Component) -> tuple[str, ...]:
        if not part.core:  # the table, the flag and the setting concern the DiT
            return () if self.name == "adaptive" else (part.precision,)
        if self.quantization is None:
            return ()
        have = [form.precision for form in part.forms]
        if self.quantization in have:
            return (self.quantization,)
        return tuple(name for name in have if name in NATIVE)


def resolve_policy(
    machine: Machine, name: PolicyName, options: Options, tiers: Tiers, lm_size: str | None = None
) -> Policy:
    """The policy of this name on this machine, for a family that publishes these tiers.

    `lm_size` is the size that the named language model counts as, if its name does not state it.

    Without a card, or under `adaptive`, only the user's settings are fixed. On Apple and Intel
    cards parts are not offloaded, and nothing is converted or compiled by default. If the host
    computes and a setting names a card, its tier sets lengths, batches and the language model. With
    a group of cards the tier is that of the largest, and the planner decides which parts leave a
    card.
    """
    size = machine.card_bytes
    tier = None if size is None else tiers.of(size / GIB)
    name = name if tiers.rows else "adaptive"
    bound = tier if name == "published" else None
    notes: list[Note] = []
    quantization = _spelt(options.quantization)
    offload, offload_dit, compiled = options.offload, options.offload_dit, options.compile
    if bound is not None and machine.kind in ("cuda", "simulated"):
        if not machine.beside:  # with a card to itself, a part need not leave for another
            offload = bound.offload != "none" if offload is None else offload
            offload_dit = bound.offload == "cpu+dit" if offload_dit is None else offload_dit
        quantization = (bound.quantization or "none") if quantization is None else quantization
        compiled = bound.compile if compiled is None else compiled
    elif bound is not None and machine.accelerated:
        offload, offload_dit = offload or False, offload_dit or False
        quantization, compiled = quantization or "none", compiled or False
    lm, note = _lm(machine, bound, options, tiers, lm_size)
    notes += note
    backend, note = _backend(machine, bound, options)
    notes += note
    init = options.init_lm if options.init_lm is not None else (bound is None or bound.init_lm)
    named = options.lm_model is not None and not any(n.field == "lm_model" for n in notes)
    lms = (lm,) if named and lm is not None else _in_question(machine, bound, lm, tiers)
    return Policy(
        name, tier, offload, offload_dit, quantization, compiled, lm, backend,
        init and lm is not None, tuple(notes), lms, tiers=tiers,
    )  # fmt: skip


def _spelt(quantization: str | None) -> str | None:
    return None if quantization is None else SPELLINGS.get(quantization, quantization)


def _lm(
    machine: Machine, bound: Tier | None, options: Options, tiers: Tiers, named: str | None = None
) -> tuple[str | None, list[Note]]:
    """The size of the language model, and a note if a different one was requested."""
    requested, sizes = options.lm_model, tiers.lm_sizes
    if requested == "none":
        return None, []
    if not sizes:
        why = reason("family_without_language_model")
        return None, [] if requested is None else [Note("lm_model", requested, None, why)]
    size = (tiers.lm_size(requested) or named) if requested is not None else None
    if requested is not None and size is None:
        used, _ = _lm(machine, bound, options.model_copy(update={"lm_model": None}), tiers)
        why = reason("lm_model_unknown", sizes=", ".join(sizes))
        return used, [Note("lm_model", requested, used, why)]
    if bound is None:
        return size or sizes[-1 if machine.accelerated else 0], []
    if size is None:
        forced = options.init_lm is True and not bound.lms
        return bound.recommended or (sizes[0] if forced else None), []
    if size in bound.lms:
        return size, []
    if not bound.lms and options.init_lm is True and size == sizes[0]:
        return size, [
            Note("lm_model", requested, requested, reason("tier_loads_none", tier=bound.label))
        ]
    names = ", ".join(bound.lms) or "none"
    why = reason("tier_may_load", tier=bound.label, gibibytes=_size(machine), models=names)
    return bound.recommended, [Note("lm_model", requested, bound.recommended, why)]


def _in_question(
    machine: Machine, bound: Tier | None, lm: str | None, tiers: Tiers
) -> tuple[str, ...]:
    """The sizes to choose from if none was named: a tier's recommended one, then the others it may
    load, smallest first; without a tier the largest first, or on a host the smallest first.
    """
    if lm is None:
        return ()
    if bound is None:
        return tiers.lm_sizes[::-1] if machine.accelerated else tiers.lm_sizes
    at = tiers.lm_sizes.index(lm)
    others = (*tiers.lm_sizes[:at][::-1], *tiers.lm_sizes[at + 1 :])
    return (lm, *(size for size in others if size in bound.lms))


def _backend(machine: Machine, bound: Tier | None, options: Options) -> tuple[str, list[Note]]:
    requested = options.lm_backend
    if machine.kind == "mps":
        usual = "mlx"
    elif bound is not None and machine.accelerated:
        usual = bound.backend
    else:
        usual = "vllm" if machine.kind in ("cuda", "simulated") else "pt"
    if requested is None:
        return usual, []
    if bound is not None and bound.backends == "pt_mlx_only" and requested == "vllm":
        why = reason("tier_backends", tier=bound.label, gibibytes=_size(machine))
        return usual, [Note("lm_backend", requested, usual, why)]
    return requested, []


def _size(machine: Machine) -> float:
    """GiB of the card whose tier is in force."""
    size = machine.card_bytes
    assert size is not None
    return size / GIB
