from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Features
from headroom.memory.footprint import Component, Footprint, Form, Stage, Way
from headroom.memory.options import HOST_START
from headroom.memory.plan import Cut, Residency, Wish, Wishes, cuts
from headroom.memory.planner import least_peak, plan
from headroom.units import GIB, MIB
from support.exhaustive import machine

R, SW, ST, H = Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED, Residency.HOST


def ways(*sizes: int) -> tuple[Way, ...]:
    return tuple(Way(s * MIB, pieces=n, more=0.03 * (n - 1)) for n, s in enumerate(sizes, 1))


FOOTPRINT = Footprint(
    (Component("encoder", (100 * MIB,) * 4, 0), Component("dit", (200 * MIB,) * 10, 0, core=True)),
    (
        Stage("condition", ("encoder",), ways(50), flops=1e11),
        Stage("denoise", ("dit",), ways(400, 200), passes=8, flops=8e12),
        Stage("decode", (), (Way(2000 * MIB, tile=512), Way(500 * MIB, tile=128)), flops=1e12),
    ),
)


def test_with_room_everything_stays_and_nothing_is_cut():
    found = plan(FOOTPRINT, machine(8 * GIB))
    assert {p.residency for p in found.placements} == {R}
    assert [(s.pieces, s.tile) for s in found.stages] == [(1, None), (1, None), (1, 512)]
    assert found.stage("denoise").peak == 2800 * MIB
    assert found.stage("denoise").seconds == pytest.approx(8)


def test_with_less_room_work_is_cut_before_parts_have_to_leave():
    found = plan(FOOTPRINT, machine(3000 * MIB))
    assert {p.residency for p in found.placements} == {R}
    assert found.stage("decode").tile == 128
    assert found.stage("decode").peak == 2900 * MIB


def test_with_little_room_some_blocks_stay_and_the_others_pass_through():
    found = plan(FOOTPRINT, machine(1500 * MIB))
    dit = found.placement("dit")
    # A step computes for 1 s and needs the copy of a block, 0.21 s, for each that does not stay.
    assert dit.residency is ST and dit.kept == 2
    assert found.stage("denoise").peak == 5 * 200 * MIB + 400 * MIB


def test_streaming_that_computing_hides_costs_only_what_is_copied_first():
    hidden = Footprint(
        (Component("dit", (MIB,) * 10, 0),), (Stage("s", ("dit",), ways(1), 8, flops=1e13),)
    )
    found = plan(hidden, machine(6 * MIB))
    assert found.placement("dit").residency is ST
    assert found.seconds == pytest.approx(10 + found.placement("dit").kept * MIB / 1e9)


def test_every_byte_of_a_peak_has_an_owner():
    for room in (1200, 1500, 2250, 3000, 8000):
        found = plan(FOOTPRINT, replace(machine(room * MIB), libraries=20 * MIB))
        for stage in found.stages:
            assert sum(share.bytes for share in stage.shares) == stage.peak <= found.budget
            assert any(share.owner == "libraries" for share in stage.shares)


def test_what_cannot_fit_is_refused_with_the_least_the_budget_and_what_would_help():
    small = machine(400 * MIB)
    with pytest.raises(DoesNotFit, match=r"a shorter song") as caught:
        plan(FOOTPRINT, small, Wishes(components=(Wish("dit", (SW,)),)))
    assert (caught.value.least, caught.value.budget) == (2200 * MIB, small.budget)
    assert "leaving placement" in str(caught.value)


def test_a_refusal_names_a_coarser_precision_that_nobody_asked_for():
    with pytest.raises(DoesNotFit, match=r"int4 for the dit \(0.15 GiB less\)") as caught:
        plan(CONVERTED, machine(600 * MIB), Wishes(components=(Wish("dit", (ST,)),)))
    assert caught.value.least == 700 * MIB
    asked = Wishes(components=(Wish("dit", (ST,), ("int4",)),))
    assert plan(CONVERTED, machine(600 * MIB), asked).peak <= 600 * MIB


def test_the_host_computes_where_nothing_else_fits():
    found = plan(FOOTPRINT, machine(550 * MIB))
    assert found.placement("dit").residency is H
    assert found.stage("denoise").host and found.stage("denoise").peak == 0
    assert found.stage("denoise").seconds == pytest.approx(80 + HOST_START)
    assert found.host_peak >= FOOTPRINT.components[1].bytes


def test_the_host_computes_where_that_is_faster_than_copying():
    seldom = Footprint(
        (Component("a", (), 900 * MIB), Component("b", (), 200 * MIB)),
        (Stage("one", ("a",), ways(0), flops=1e10), Stage("two", ("b",), ways(0), flops=1e12)),
    )
    assert plan(seldom, machine(2 * GIB)).placement("a").residency is R
    found = plan(seldom, machine(1000 * MIB))  # 0.1 s and a start, or 0.94 s of copying
    assert found.placement("a").residency is H and found.placement("b").residency is R
    assert found.seconds == pytest.approx(1.1 + HOST_START)
    wished = plan(seldom, machine(1000 * MIB), Wishes(components=(Wish("a", (SW,)),)))
    assert wished.placement("a").residency is SW


def test_of_equally_fast_plans_the_simplest_is_taken():
    unmeasured = replace(
        machine(2500 * MIB), copy_rate=None, matrix_rate=None, host_rate=None
    )  # every plan takes 0 s
    found = plan(FOOTPRINT, unmeasured)
    # What moves counts before how the work is cut.
    assert [p.residency for p in found.placements] == [SW, R]
    assert [(s.pieces, s.tile) for s in found.stages] == [(1, None), (1, None), (1, 128)]


def test_what_two_stages_use_is_placed_alike_in_both():
    twice = Footprint(
        (Component("lm", (100 * MIB,) * 8, 0),),
        (
            Stage("think", ("lm",), ways(500), passes=4, flops=1e11),
            Stage("write", ("lm",), ways(100), passes=4, flops=1e11),
        ),
    )
    found = plan(twice, machine(1000 * MIB), Wishes(components=(Wish("lm", (SW, ST)),)))
    lm = found.placement("lm")
    assert (lm.residency, lm.kept) == (ST, 2)  # the first stage has room for no more
    assert [s.peak for s in found.stages] == [1000 * MIB, 600 * MIB]


def test_work_is_counted_in_the_precision_that_was_converted_to():
    cut = (Way(10 * MIB, precision="bfloat16"), Way(70 * MIB, precision="int8"))
    dit = Component("dit", (), 100 * MIB, "bfloat16", (Form("int8", (), 50 * MIB),))
    text = Component("text", (), 10 * MIB, "bfloat16")
    for part in (text, replace(text, others=(Form("int8", (), 5 * MIB),))):
        both = Footprint((part, dit), (Stage("s", ("text", "dit"), cut, flops=1e12),))
        wishes = Wishes(
            components=(Wish("dit", (), ("int8",)), Wish("text", (), ("bfloat16",))),
        )
        assert plan(both, machine(500 * MIB), wishes).stage("s").peak == 130 * MIB
        assert plan(both, machine(500 * MIB, "cpu"), wishes).peak == 130 * MIB


def test_wishes_that_exclude_one_another_are_refused():
    apart = Footprint(FOOTPRINT.components, (Stage("s", ("encoder", "dit"), ways(10)),))
    wishes = Wishes(components=(Wish("encoder", (H,)), Wish("dit", (R,))))
    with pytest.raises(DoesNotFit, match="what was wished for"):
        plan(apart, machine(8 * GIB), wishes)


def test_a_host_keeps_everything_where_it_is():
    found = plan(FOOTPRINT, machine(8 * GIB, "cpu"))
    assert {p.residency for p in found.placements} == {H}
    with pytest.raises(DoesNotFit):
        plan(FOOTPRINT, machine(500 * MIB, "cpu"))


def test_results_of_stages_before_are_charged_to_those_after():
    stages = (Stage("a", (), ways(10), result=7 * MIB), Stage("b", (), ways(10)))
    found = plan(Footprint((), stages), machine(GIB))
    assert [s.peak for s in found.stages] == [10 * MIB, 17 * MIB]


def test_wishes_are_kept_where_the_stage_offers_them():
    swapped = plan(FOOTPRINT, machine(8 * GIB), Wishes(SW))
    assert {p.residency for p in swapped.placements} == {SW}
    one = plan(FOOTPRINT, machine(8 * GIB), Wishes(components=(Wish("encoder", (SW,)),)))
    assert one.placement("encoder").residency is SW and one.placement("dit").residency is R
    tight = plan(FOOTPRINT, machine(2450 * MIB))
    again = plan(FOOTPRINT, machine(8 * GIB), Wishes(cuts=cuts(tight.stages)))
    assert cuts(again.stages) == cuts(tight.stages)
    unknown = plan(FOOTPRINT, machine(8 * GIB), Wishes(cuts=(Cut("decode", 1, 99),)))
    assert unknown.stage("decode").tile == 512
    whole = plan(FOOTPRINT, machine(1000 * MIB), Wishes(whole=True))
    assert whole.stage("denoise").pieces == 1


CONVERTED = Footprint(
    (
        Component(
            "dit", (200 * MIB,) * 10, 0, "bfloat16",
            (Form("int8", (100 * MIB,) * 10, 0), Form("int4", (50 * MIB,) * 10, 0)),
        ),
    ),
    (Stage("denoise", ("dit",), ways(400), passes=8, flops=1e11),),
)  # fmt: skip


def test_weights_are_converted_only_where_that_is_faster_and_never_unasked_to_four_bits():
    roomy = plan(CONVERTED, machine(3 * GIB)).placement("dit")
    assert (roomy.precision, roomy.residency) == ("bfloat16", R)
    tight = plan(CONVERTED, machine(1500 * MIB)).placement("dit")
    assert (tight.precision, tight.residency) == ("int8", R)
    asked = plan(CONVERTED, machine(1500 * MIB), Wishes(precision="int4")).placement("dit")
    assert asked.precision == "int4"
    slow = replace(machine(1500 * MIB), memory_rate=1e9)  # writing matrices out costs more
    assert plan(CONVERTED, slow).placement("dit").precision == "bfloat16"


def test_a_card_without_fp8_is_given_none():
    part = replace(CONVERTED.components[0], others=(Form("fp8", (100 * MIB,) * 10, 0),))
    fp8 = replace(CONVERTED, components=(part,))
    assert plan(fp8, machine(1500 * MIB)).placement("dit").precision == "bfloat16"
    able = replace(machine(1500 * MIB), features=Features(fp8=True))
    assert plan(fp8, able).placement("dit").precision == "fp8"


def test_the_plan_says_itself_in_words():
    text = plan(FOOTPRINT, machine(3000 * MIB)).explain()
    assert "dit stays on the device from run to run (1.95 GiB, float32)." in text
    assert "denoise: 2.73 GiB, 8.0 s." in text
    assert "decode: 2.83 GiB, 1.0 s, in tiles of 128." in text


def test_an_unknown_stage_or_component_is_an_error_that_names_those_there_are():
    found = plan(FOOTPRINT, machine(8 * GIB))
    with pytest.raises(KeyError, match="decode"):
        found.stage("encode")
    with pytest.raises(KeyError, match="dit"):
        found.placement("vae")


# --- properties ----------------------------------------------------------------------------

sizes = st.integers(0, 64 * MIB) | st.integers(0, GIB)


@st.composite
def footprints(draw: st.DrawFn, longer: int = 1) -> Footprint:
    def part(name: str) -> Component:
        blocks = (draw(sizes),) * draw(st.integers(0, 5))
        half = Form("int8", tuple(b // 2 for b in blocks), 0)
        return Component(
            name, blocks, draw(sizes), "bfloat16", (half,) if draw(st.booleans()) else ()
        )

    def stage(name: str, *uses: str) -> Stage:
        room = sorted(draw(st.lists(sizes, min_size=1, max_size=3)), reverse=True)
        cut = tuple(Way(r * longer, pieces=n, more=0.03 * n) for n, r in enumerate(room, 1))
        result = draw(st.integers(0, MIB))
        return Stage(name, uses, cut, draw(st.integers(1, 9)), draw(st.floats(0, 1e13)), result)

    parts = tuple(part(name) for name in "abc")
    return Footprint(parts, (stage("one", "a"), stage("two", "b", "c"), stage("three", "c")))


@given(footprints(), st.integers(0, 4 * GIB), st.sampled_from(["cuda", "cpu"]))
def test_every_stage_stays_within_the_budget_or_is_refused_with_the_least(footprint, room, kind):
    where = machine(room, kind)
    try:
        found = plan(footprint, where)
    except DoesNotFit as refusal:
        assert refusal.least > refusal.budget == where.budget
    else:
        assert all(s.peak <= where.budget for s in found.stages)
        assert all(sum(x.bytes for x in s.shares) == s.peak for s in found.stages)


@given(footprints(), st.integers(0, 2 * GIB), st.integers(0, GIB))
def test_more_memory_is_never_slower_and_never_allows_less(footprint, room, more):
    try:
        small = plan(footprint, machine(room))
    except DoesNotFit:
        return
    assert plan(footprint, machine(room + more)).seconds <= small.seconds + 1e-6


@given(footprints(), st.integers(2, 5))
def test_more_work_never_needs_less(footprint, longer):
    large = replace(
        footprint,
        stages=tuple(
            replace(s, ways=tuple(replace(w, workspace=w.workspace * longer) for w in s.ways))
            for s in footprint.stages
        ),
    )
    card = machine(0)
    assert least_peak(footprint, card) <= least_peak(large, card)
