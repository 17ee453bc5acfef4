from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.errors import DoesNotFit
from headroom.hardware.machine import CONTEXT, LEAST_RESERVE, RESERVE, Machine
from headroom.memory.footprint import Component, Footprint, Stage
from headroom.memory.plan import Cut, Residency, Wishes, cuts
from headroom.memory.planner import plan
from headroom.units import GIB, MIB


def machine(budget: int, kind: str = "cuda") -> Machine:
    """A machine with this budget (and at most 8 bytes more), whatever is held back."""
    usable = max(budget + LEAST_RESERVE, math.ceil(budget / (1 - RESERVE)))
    total = usable + (CONTEXT if kind != "cpu" else 0)
    found = Machine("test", kind, total, total, GIB, GIB, copy_rate=1e9)
    assert budget <= found.budget <= budget + 8
    return found


FOOTPRINT = Footprint(
    (Component("encoder", (100 * MIB,) * 4, 0), Component("dit", (200 * MIB,) * 10, 0)),
    (
        Stage("condition", ("encoder",), (50 * MIB,), seconds=0.1),
        Stage("denoise", ("dit",), (400 * MIB, 200 * MIB), passes=8, seconds=8),
        Stage("decode", (), (2000 * MIB, 500 * MIB), tiles=(512, 128), seconds=1),
    ),
)


def test_with_room_everything_stays_and_nothing_is_cut():
    found = plan(FOOTPRINT, machine(8 * GIB))
    assert {p.residency for p in found.placements} == {Residency.RESIDENT}
    assert [(s.pieces, s.tile) for s in found.stages] == [(1, None), (1, None), (1, 512)]
    assert found.stage("denoise").peak == 2800 * MIB
    assert found.stage("denoise").seconds == 8


def test_with_less_room_work_is_cut_before_parts_have_to_leave():
    found = plan(FOOTPRINT, machine(3000 * MIB))
    assert {p.residency for p in found.placements} == {Residency.RESIDENT}
    assert found.stage("decode").tile == 128
    assert found.stage("decode").peak == 2900 * MIB


def test_with_little_room_parts_come_when_they_are_used():
    found = plan(FOOTPRINT, machine(2250 * MIB))
    assert {p.residency for p in found.placements} == {Residency.SWAPPED}
    assert found.stage("denoise").pieces == 2
    assert found.stage("denoise").peak == 2200 * MIB
    assert found.stage("decode").peak == 2000 * MIB  # no weights beside it, so in large tiles
    assert found.stage("denoise").seconds == pytest.approx(8 * 1.03 + 2000 * MIB / 1e9)


def test_what_cannot_fit_is_refused_with_the_least_and_the_budget():
    small = machine(500 * MIB)
    with pytest.raises(DoesNotFit, match=r"the stage 'denoise' needs at least 2\.15 GiB") as caught:
        plan(FOOTPRINT, small)
    assert (caught.value.least, caught.value.budget) == (2200 * MIB, small.budget)


def test_the_host_keeps_everything_where_it_is():
    found = plan(FOOTPRINT, machine(8 * GIB, "cpu"))
    assert {p.residency for p in found.placements} == {Residency.HOST}
    with pytest.raises(DoesNotFit):
        plan(FOOTPRINT, machine(500 * MIB, "cpu"))


def test_results_of_stages_before_are_charged_to_those_after():
    stages = (Stage("a", (), (10 * MIB,), result=7 * MIB), Stage("b", (), (10 * MIB,)))
    found = plan(Footprint((), stages), machine(GIB))
    assert [s.peak for s in found.stages] == [10 * MIB, 17 * MIB]


def test_wishes_are_kept_where_the_stage_offers_them():
    swapped = plan(FOOTPRINT, machine(8 * GIB), Wishes(Residency.SWAPPED))
    assert {p.residency for p in swapped.placements} == {Residency.SWAPPED}
    tight = plan(FOOTPRINT, machine(2250 * MIB))
    again = plan(FOOTPRINT, machine(8 * GIB), Wishes(cuts=cuts(tight.stages)))
    assert cuts(again.stages) == cuts(tight.stages)
    unknown = plan(FOOTPRINT, machine(8 * GIB), Wishes(cuts=(Cut("decode", 1, 99),)))
    assert unknown.stage("decode").tile == 512


def test_a_cut_that_was_wished_for_is_not_taken_beyond_the_budget():
    with pytest.raises(DoesNotFit):
        plan(FOOTPRINT, machine(2250 * MIB), Wishes(cuts=(Cut("denoise", 1, None),)))


def test_the_plan_says_itself_in_words():
    text = plan(FOOTPRINT, machine(3000 * MIB)).explain()
    assert "dit stays on the device for the whole run (1.95 GiB, float32)." in text
    assert "denoise: 2.73 GiB, 8.0 s." in text
    assert "decode: 2.83 GiB, 1.0 s, in tiles of 128." in text


def test_an_unknown_stage_or_component_is_an_error_that_names_those_there_are():
    found = plan(FOOTPRINT, machine(8 * GIB))
    with pytest.raises(KeyError, match="decode"):
        found.stage("encode")
    with pytest.raises(KeyError, match="dit"):
        found.placement("vae")


sizes = st.integers(0, 64 * MIB) | st.integers(0, 4 * GIB)
workspaces = st.lists(sizes, min_size=1, max_size=4).map(lambda w: tuple(sorted(w, reverse=True)))


@st.composite
def footprints(draw: st.DrawFn) -> Footprint:
    parts = tuple(Component(name, (draw(sizes),), 0) for name in ("a", "b"))
    stages = (
        Stage("one", ("a",), draw(workspaces), seconds=1),
        Stage("two", ("b",), draw(workspaces), seconds=1),
    )
    return Footprint(parts, stages)


@given(footprints(), st.integers(0, 16 * GIB), st.sampled_from(["cuda", "cpu"]))
def test_every_stage_stays_within_the_budget_or_is_refused_with_the_least(footprint, room, kind):
    where = machine(room, kind)
    try:
        found = plan(footprint, where)
    except DoesNotFit as refusal:
        assert refusal.least > refusal.budget == where.budget
        a, b = (c.bytes for c in footprint.components)
        held = (a, b) if kind == "cuda" else (a + b, a + b)
        finest = [s.workspace[-1] for s in footprint.stages]
        assert refusal.least == max(held[0] + finest[0], held[1] + finest[1])
    else:
        assert all(s.peak <= where.budget for s in found.stages)


@given(footprints(), sizes, sizes)
def test_more_memory_is_never_slower(footprint, room, more):
    try:
        small = plan(footprint, machine(room))
    except DoesNotFit:
        return
    assert plan(footprint, machine(room + more)).seconds <= small.seconds


def test_parts_leave_where_staying_would_cost_more_than_copying():
    parts = (Component("a", (8 * MIB,), 0), Component("b", (8 * MIB,), 0))
    stages = (Stage("one", ("a",), (10 * MIB, 5 * MIB), seconds=1), Stage("two", ("b",), (0,)))
    found = plan(Footprint(parts, stages), machine(21 * MIB))
    assert {p.residency for p in found.placements} == {Residency.SWAPPED}
    assert found.stage("one").pieces == 1
