"""Set the limits on this machine: its published tier, or what the planner allows. No torch.

There are two policies: `published` applies the tier's row of the table unless the user overrides
it; `adaptive` leaves everything to the planner. A note explains each request that cannot be met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine
from headroom.memory.footprint import Component, Footprint
from headroom.memory.plan import Residency, Wish, Wishes
from headroom.memory.precision import NATIVE, SPELLINGS
from headroom.memory.tiers import LM_SIZES, Tier, lm_size, tier_of
from headroom.params.clamp import Note
from headroom.params.knob import Limit
from headroom.settings import Policy
from headroom.units import GIB

LEAVING = (Residency.SWAPPED, Residency.STREAMED, Residency.HOST)


@dataclass(frozen=True, slots=True)
class Choices:
    """The user's settings. None leaves the choice to the policy.

    offload       whether idle parts leave the card; `offload_dit`: the same for the DiT
    quantization  of the DiT: none, or a precision of `memory.precision`
    lm            name or size of a language model; "none" for no model
    lm_size       the size `lm` counts as, if its name does not state it
    """

    offload: bool | None = None
    offload_dit: bool | None = None
    quantization: str | None = None
    compile: bool | None = None
    lm: str | None = None
    lm_backend: str | None = None
    init_lm: bool | None = None
    lm_size: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms in force here. For offload and quantization, None: the planner decides.

    lm     size of the language model; `lms`: the sizes to choose from, the preferred one first
    lm_off why none is loaded by default, if that is known
    notes  requests that are met differently
    """

    policy: Policy
    tier: Tier | None
    offload: bool | None
    offload_dit: bool | None
    quantization: str | None
    compile: bool | None
    lm: str | None
    lm_backend: str
    init_lm: bool
    notes: tuple[Note, ...] = ()
    lms: tuple[str, ...] = ()
    lm_off: str | None = None

    def wishes(self, footprint: Footprint) -> Wishes:
        """The terms as wishes for the planner."""
        return Wishes(components=tuple(self._wish(part) for part in footprint.components))

    def _wish(self, part: Component) -> Wish:
        leaves = self.offload_dit if part.core else self.offload
        where: tuple[Residency, ...] = ()
        if leaves is not None:
            where = LEAVING[:2] if leaves else (Residency.RESIDENT,)
        return Wish(part.name, where, self._precisions(part))

    def _precisions(self, part: Component) -> tuple[str, ...]:
        if not part.core:  # the table, the flag and the setting concern the DiT
            return () if self.policy == "adaptive" else (part.precision,)
        if self.quantization is None:
            return ()
        have = [form.precision for form in part.forms]
        if self.quantization in have:
            return (self.quantization,)
        return tuple(name for name in have if name in NATIVE)


def terms(machine: Machine, policy: Policy, choices: Choices) -> Terms:
    """The terms in force on this machine.

    Without a card, or under `adaptive`, only the user's settings are fixed. On Apple and Intel
    cards parts are not offloaded, and nothing is converted or compiled by default. If the host
    computes and a setting names a card, its tier sets lengths, batches and the language model.
    """
    size = machine.card_bytes
    tier = None if size is None else tier_of(size / GIB)
    bound = tier if policy == "published" else None
    notes: list[Note] = []
    quantization = _spelt(choices.quantization)
    offload, offload_dit, compiled = choices.offload, choices.offload_dit, choices.compile
    if bound is not None and machine.kind in ("cuda", "simulated"):
        offload = bound.offload != "none" if offload is None else offload
        offload_dit = bound.offload == "cpu+dit" if offload_dit is None else offload_dit
        quantization = (bound.quantization or "none") if quantization is None else quantization
        compiled = bound.compile if compiled is None else compiled
    elif bound is not None and machine.accelerated:
        offload, offload_dit = offload or False, offload_dit or False
        quantization, compiled = quantization or "none", compiled or False
    lm, note = _lm(machine, bound, choices)
    notes += note
    backend, note = _backend(machine, bound, choices)
    notes += note
    init = choices.init_lm if choices.init_lm is not None else (bound is None or bound.init_lm)
    named = choices.lm is not None and not any(n.field == "lm_model" for n in notes)
    lms = (lm,) if named and lm is not None else _in_question(machine, bound, lm)
    return Terms(
        policy, tier, offload, offload_dit, quantization, compiled, lm, backend,
        init and lm is not None, tuple(notes), lms,
    )  # fmt: skip


def limits(
    found: Terms,
    uses_lm: bool,
    most_seconds: tuple[str, float] | None = None,
    most_songs: tuple[str, float] | None = None,
) -> Mapping[str, Limit]:
    """Limits of `duration` and `batch_size`, each with its reason.

    `most_…` are upper limits from settings, with the setting's name; they tighten both policies.
    """
    seconds: list[tuple[float, str]] = []
    songs: list[tuple[float, str]] = []
    if found.tier is not None and found.policy == "published":
        column, words = (0, "with") if uses_lm else (1, "without")
        why = f"{found.tier.label} allows {{}} {words} a language model"
        most = found.tier.seconds[column], found.tier.batch[column]
        seconds.append((most[0], why.format(f"{most[0]} s")))
        songs.append((most[1], why.format(f"{most[1]} at once")))
    for said, found_ in ((most_seconds, seconds), (most_songs, songs)):
        if said is not None:
            found_.append((said[1], f"{said[0]} is {said[1]:g}"))
    given = {"duration": seconds, "batch_size": songs}
    return {name: Limit(-math.inf, *min(found_)) for name, found_ in given.items() if found_}


def longest(fits: Callable[[float], object], least: float, most: float) -> float:
    """The longest song, to the second, for which `fits` does not raise DoesNotFit; 0: none."""

    def ok(seconds: float) -> bool:
        try:
            fits(seconds)
        except DoesNotFit:
            return False
        return True

    if ok(most):
        return most
    if not ok(least):
        return 0.0
    low, high = least, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if ok(middle) else (low, middle)
    return low


def _spelt(quantization: str | None) -> str | None:
    return None if quantization is None else SPELLINGS.get(quantization, quantization)


def _lm(machine: Machine, bound: Tier | None, choices: Choices) -> tuple[str | None, list[Note]]:
    """The size of the language model, and a note if a different one was requested."""
    asked = choices.lm
    if asked == "none":
        return None, []
    wanted = (lm_size(asked) or choices.lm_size) if asked is not None else None
    if asked is not None and wanted is None:
        used, _ = _lm(machine, bound, replace(choices, lm=None))
        why = "no model of that name is here, and it tells none of the sizes " + ", ".join(LM_SIZES)
        return used, [Note("lm_model", asked, used, why)]
    if bound is None:
        return wanted or LM_SIZES[-1 if machine.accelerated else 0], []
    if wanted is None:
        forced = choices.init_lm is True and not bound.lms
        return bound.recommended or (LM_SIZES[0] if forced else None), []
    if wanted in bound.lms:
        return wanted, []
    if not bound.lms and choices.init_lm is True and wanted == LM_SIZES[0]:
        return wanted, [Note("lm_model", asked, asked, f"{bound.label} loads none by itself")]
    names = ", ".join(bound.lms) or "none"
    why = f"{bound.label}{_size(machine)} may load {names}"
    return bound.recommended, [Note("lm_model", asked, bound.recommended, why)]


def _in_question(machine: Machine, bound: Tier | None, lm: str | None) -> tuple[str, ...]:
    """The sizes to choose from if none was named: a tier's recommended one, then the others it may
    load, smallest first; without a tier the largest first, or on a host the smallest first.
    """
    if lm is None:
        return ()
    if bound is None:
        return LM_SIZES[::-1] if machine.accelerated else LM_SIZES
    at = LM_SIZES.index(lm)
    others = (*LM_SIZES[:at][::-1], *LM_SIZES[at + 1 :])
    return (lm, *(size for size in others if size in bound.lms))


def _backend(machine: Machine, bound: Tier | None, choices: Choices) -> tuple[str, list[Note]]:
    asked = choices.lm_backend if choices.lm_backend not in (None, "auto") else None
    if machine.kind == "mps":
        usual = "mlx"
    elif bound is not None and machine.accelerated:
        usual = bound.backend
    else:
        usual = "vllm" if machine.kind in ("cuda", "simulated") else "pt"
    if asked is None:
        return usual, []
    if bound is not None and bound.backends == "pt_mlx_only" and asked == "vllm":
        why = f"{bound.label}{_size(machine)} is for pt and mlx"
        return usual, [Note("lm_backend", asked, usual, why)]
    return asked, []


def _size(machine: Machine) -> str:
    size = machine.card_bytes
    return "" if size is None else f" ({size / GIB:.3g} GiB)"
