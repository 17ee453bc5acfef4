"""Checks a tier's policy and plans against the family's second copy of its published tiers. No
torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from headroom.memory.plan import Plan, Residency
from headroom.memory.policy import Policy
from headroom.memory.precision import NATIVE
from headroom.memory.tiers import Tier
from headroom.models.registry import USUAL, family_named
from headroom.profiler.tiers.rows import Variant


def published(gibibytes: float, family: str = USUAL) -> Tier:
    """The row of a card of that size."""
    row = family_named(family).rehearsal().published.of(gibibytes)
    assert row is not None
    return row


def detected(row: Tier, policy: Policy) -> Iterator[str]:
    """The differences between detected and published values, one sentence each."""
    tier = policy.tier
    if tier is None or tier.name != row.name:
        yield f"{'no tier' if tier is None else tier.name} was detected, and it is {row.name}"
        return
    with_lm, without = (policy.limits(uses_lm) for uses_lm in (True, False))
    pairs: dict[str, tuple[object, object]] = {
        "language models": (tier.lms, row.lms),
        "recommended language model": (policy.lm, row.recommended),
        "loading one": (policy.init_lm, bool(row.lms)),
        "backend": (policy.lm_loop, row.backend),
        "longest song": (
            (with_lm["seconds"].maximum, without["seconds"].maximum),
            row.seconds,
        ),
        "largest batch": (
            (with_lm["count"].maximum, without["count"].maximum),
            row.batch,
        ),
        "offload": ((policy.offload, policy.offload_dit), _leaving(row)),
        "quantization": (policy.quantization, row.quantization or "none"),
    }
    for name, (actual, expected) in pairs.items():
        if actual != expected:
            yield f"{name}: {_words(actual)} here, {_words(expected)} published for {row.name}"


def planned(row: Tier, variant: Variant, core: str, plan: Plan) -> Iterator[str]:
    """Where the plan differs from the row and the variant; `core` is the DiT's name."""
    where = {p.component: p.residency for p in plan.placements}
    stay = {name for name, how in where.items() if how is Residency.RESIDENT}
    idle, idle_dit = _leaving(row)
    if variant == "no-offload":
        idle = idle_dit = False
    expected = {name for name in where if not (idle_dit if name == core else idle)}
    if stay != expected:
        yield f"staying on the card: {_words(sorted(stay))}; expected: {_words(sorted(expected))}"
    precision = plan.placement(core).precision
    converted = variant in ("default", "batch") and row.quantization is not None
    good = precision == row.quantization if converted else precision in NATIVE
    if not good:
        yield f"the {core} is in {precision}, not in {row.quantization if converted else 'its own'}"


def _leaving(row: Tier) -> tuple[bool, bool]:
    """Whether idle parts leave the card, and whether the DiT does."""
    return row.offload != "none", row.offload == "cpu+dit"


def _words(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
