"""Every row of the published table is planned at its smallest card, with the released sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headroom.engine.policy import choose_language_model
from headroom.errors import DoesNotFit
from headroom.hardware.machine import card
from headroom.memory.plan import NO_WISHES, Plan, Residency
from headroom.memory.planner import least_peak, plan
from headroom.memory.policy import resolve_policy
from headroom.memory.tiers import Tier
from headroom.models.acestep.cost.lm_cost import cache_of, thinking
from headroom.models.acestep.cost.unopened import footprint_of, songs_of, thinking_of
from headroom.models.acestep.networks.released import released_lm
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.tiers import LM_SIZES, TIERS
from headroom.settings import Options, PolicyName, Settings

TURBO, XL = VARIANTS["acestep-v15-turbo"], VARIANTS["acestep-v15-xl-turbo"]
LYRICS = "la la la, a line to sing\n" * 100


def asked(seconds: float, songs: int = 1) -> Text2Music:
    return Text2Music(caption="x" * 300, lyrics=LYRICS, duration=seconds, batch_size=songs)


def planned(size: float, request: Text2Music, policy: str, xl: bool = False) -> Plan:
    variant = XL if xl else TURBO
    machine = card(size)
    needs = footprint_of(songs_of(request, variant), variant)
    return plan(needs, machine, resolve_policy(machine, policy, Options(), TIERS).wishes(needs))  # type: ignore[arg-type]


@pytest.mark.parametrize("tier", TIERS.rows, ids=lambda t: t.name)
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


@pytest.mark.parametrize("tier", TIERS.rows, ids=lambda t: t.name)
def test_what_the_row_allows_is_what_is_asked_for(tier: Tier) -> None:
    found = resolve_policy(card(tier.lower), "published", Options(), TIERS)
    assert found.tier == tier
    assert found.limits(False)["seconds"].maximum == tier.seconds[1]
    assert found.limits(True)["count"].maximum == tier.batch[0]


def with_lm(
    size: float, request: Text2Music, policy: PolicyName, choices: Options
) -> tuple[str, Plan]:
    """The language model that is taken, and the plan of thinking and rendering."""
    machine, songs = card(size), songs_of(request, TURBO)
    found = resolve_policy(machine, policy, choices, TIERS)
    assert found.init_lm
    lm, needs = choose_language_model(
        found.lms, lambda size: thinking_of(request, songs, size), footprint_of(songs, TURBO),
        machine, found, NO_WISHES, Settings(),
    )  # fmt: skip
    return lm, plan(needs, machine, found.wishes(needs))


ROWS = [(tier, lm) for tier in TIERS.rows for lm in tier.lms or LM_SIZES[:1]]


@pytest.mark.parametrize(("tier", "lm"), ROWS, ids=lambda x: getattr(x, "name", x))
def test_the_row_holds_with_each_of_its_language_models(tier: Tier, lm: str) -> None:
    request = asked(tier.seconds[0], tier.batch[0])
    forced = Options(lm_model=f"acestep-5Hz-lm-{lm}", init_lm=None if tier.lms else True)
    taken, found = with_lm(tier.lower, request, "published", forced)
    assert taken == lm
    model = found.placement(f"acestep-5Hz-lm-{lm}")
    assert model.precision == "bfloat16"
    stays = model.residency is Residency.RESIDENT
    assert stays == (tier.offload == "none") and model.residency is not Residency.HOST
    assert found.placement("dit").precision == (tier.quantization or "bfloat16")
    assert not any(stage.host for stage in found.stages)
    assert max(stage.peak for stage in found.stages) <= card(tier.lower).budget
    # The cache is of the size the request needs, for the batch or for a piece of it.
    work = thinking(request.caption, LYRICS, tier.seconds[0], tier.batch[0], guided=True)
    stage = found.stage("write codes")
    cache = cache_of(work, released_lm(lm), "bfloat16", stage.pieces)
    own = next(share.bytes for share in stage.shares if share.owner == "work of write codes")
    assert cache < own


def test_no_row_loads_a_model_it_does_not_name() -> None:
    for tier in TIERS.rows[:2]:
        assert not resolve_policy(card(tier.lower), "published", Options(), TIERS).init_lm
    assert resolve_policy(card(4), "published", Options(init_lm=True), TIERS).lm == "0.6B"
    low = resolve_policy(
        card(4), "published", Options(lm_model="acestep-5Hz-lm-4B", init_lm=True), TIERS
    )
    assert low.lm != "4B" and "tier 1" in low.notes[0].why


def test_the_largest_model_that_fits_whole_is_taken_where_nobody_says_which() -> None:
    taken = {
        size: with_lm(size, asked(240), "adaptive", Options())[0] for size in (4, 6, 8, 12, 24)
    }
    assert taken == {4: "0.6B", 6: "1.7B", 8: "1.7B", 12: "4B", 24: "4B"}


def test_eight_gigabytes_hold_the_largest_language_model_with_its_guidance_cache() -> None:
    lm, found = with_lm(8, asked(600), "adaptive", Options(lm_model="acestep-5Hz-lm-4B"))
    assert lm == "4B" and found.placement("acestep-5Hz-lm-4B").precision == "int8"
    assert not any(stage.host for stage in found.stages)
    assert found.peak <= card(8).budget


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
