"""Every row of the published table is planned at its smallest card, with the released sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headroom.errors import DoesNotFit
from headroom.hardware.machine import card
from headroom.memory.limits import Choices, limits, terms
from headroom.memory.plan import Plan, Residency
from headroom.memory.planner import least_peak, plan
from headroom.memory.tiers import TIERS, Tier
from headroom.models.acestep.planning import footprint_of, songs_of
from headroom.models.acestep.requests import Text2Music
from headroom.models.acestep.variants import VARIANTS

TURBO, XL = VARIANTS["acestep-v15-turbo"], VARIANTS["acestep-v15-xl-turbo"]
LYRICS = "la la la, a line to sing\n" * 100


def asked(seconds: float, songs: int = 1) -> Text2Music:
    return Text2Music(caption="x" * 300, lyrics=LYRICS, duration=seconds, batch_size=songs)


def planned(size: float, request: Text2Music, policy: str, xl: bool = False) -> Plan:
    variant = XL if xl else TURBO
    machine = card(size)
    needs = footprint_of(songs_of(request, variant), variant)
    return plan(needs, machine, terms(machine, policy, Choices()).wishes(needs))  # type: ignore[arg-type]


@pytest.mark.parametrize("tier", TIERS, ids=lambda t: t.name)
@pytest.mark.parametrize("column", [0, 1], ids=["with", "without"])
def test_the_row_holds_at_its_smallest_card(tier: Tier, column: int) -> None:
    found = planned(tier.lower, asked(tier.seconds[column], tier.batch[column]), "published")
    dit = found.placement("dit")
    assert dit.precision == (tier.quantization or "bfloat16")
    where = {p.component: p.residency for p in found.placements}
    if tier.offload == "none":
        assert set(where.values()) == {Residency.RESIDENT}
    else:
        stays = {name for name, how in where.items() if how is Residency.RESIDENT}
        assert stays == ({"dit"} if tier.offload == "cpu" else set())
    assert all(stage.peak <= card(tier.lower).budget for stage in found.stages)
    assert not any(stage.host for stage in found.stages)


@pytest.mark.parametrize("tier", TIERS, ids=lambda t: t.name)
def test_what_the_row_allows_is_what_is_asked_for(tier: Tier) -> None:
    found = terms(card(tier.lower), "published", Choices())
    assert found.tier == tier
    assert limits(found, False)["duration"].maximum == tier.seconds[1]
    assert limits(found, True)["batch_size"].maximum == tier.batch[0]


def test_beyond_the_table() -> None:
    ten_minutes = planned(4, asked(600), "adaptive")
    assert ten_minutes.peak <= card(4).budget and not any(s.host for s in ten_minutes.stages)
    assert ten_minutes.placement("dit").precision == "bfloat16"  # streamed, and not rounded
    large = planned(6, asked(240), "adaptive", xl=True)
    assert large.peak <= card(6).budget and not any(s.host for s in large.stages)


@given(st.floats(3, 24), st.floats(0, 8), st.integers(10, 600), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_more_memory_is_never_slower_and_never_allows_less(
    size: float, more: float, seconds: int, songs: int
) -> None:
    try:
        small = planned(size, asked(seconds, songs), "adaptive")
    except DoesNotFit:
        return
    request = asked(seconds, songs)
    needs = footprint_of(songs_of(request, TURBO), TURBO)
    # The same card with more memory, so that its rates are the same.
    machine = card(size)
    grown = replace(
        machine, total=machine.total + int(more * 2**30), free=machine.free + int(more * 2**30)
    )
    assert plan(needs, grown).seconds <= small.seconds + 1e-6


@given(st.integers(10, 300), st.integers(1, 300))
@settings(max_examples=20, deadline=None)
def test_a_longer_song_never_needs_less(seconds: int, more: int) -> None:
    def least(length: int) -> int:
        machine = card(0.75)  # nothing to plan with
        needs = footprint_of(songs_of(asked(length), TURBO), TURBO)
        return least_peak(needs, machine)

    assert least(seconds) <= least(seconds + more)
