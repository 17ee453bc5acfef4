"""What the engine takes from policies: advice, and which language model."""

from __future__ import annotations

import pytest

from headroom.engine.policy import advice, first_plan
from headroom.hardware.machine import card
from headroom.memory.plan import NO_WISHES
from headroom.memory.policy import resolve_policy
from headroom.models.acestep.cost.unopened import footprint_of, songs_of
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.tiers import TIERS
from headroom.settings import Options, PolicyName, Settings

TURBO, FREE, PLAIN = VARIANTS["acestep-v15-turbo"], Options(), Settings()


def advised(size: float, policy: PolicyName, choices: Options = FREE) -> str | None:
    machine = card(size)
    needs = footprint_of(songs_of(Text2Music(caption="x", duration=60), TURBO), TURBO)
    found = resolve_policy(machine, policy, choices, TIERS)
    made, _, _ = first_plan(needs, machine, found, NO_WISHES, PLAIN)
    return advice(made, needs, machine, found, NO_WISHES, PLAIN.under(choices))


def test_where_the_row_is_slower_than_what_fits_that_is_said() -> None:
    said = advised(12, "published")
    assert said is not None and said.startswith("--policy adaptive would take ")
    assert "x faster" in said and "the dit stays in bfloat16" in said


@pytest.mark.parametrize(("size", "policy"), [(24, "published"), (12, "adaptive")])
def test_where_nothing_is_faster_nothing_is_said(size: float, policy: PolicyName) -> None:
    assert advised(size, policy) is None


def test_what_somebody_chose_is_not_advised_against() -> None:
    said = advised(12, "published", Options(quantization="int8", offload=True, offload_dit=True))
    assert said is None or "bfloat16" not in said
