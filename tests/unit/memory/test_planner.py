from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.errors import DoesNotFit
from headroom.hardware.machine import CONTEXT, LEAST_RESERVE, RESERVE, Features, Machine
from headroom.memory.footprint import Component, Footprint, Form, Stage, Way
from headroom.memory.plan import SLOTS, Cut, Residency, Wish, Wishes, cuts
from headroom.memory.planner import least_peak, plan
from headroom.units import GIB, MIB

R, SW, ST, H = Residency.RESIDENT, Residency.SWAPPED, Residency.STREAMED, Residency.HOST


def machine(budget: int, kind: str = "cuda", copy_rate: float | None = 1e9) -> Machine:
    """A machine with this budget (and at most 8 bytes more), whatever is held back."""
    usable = max(budget + LEAST_RESERVE, math.ceil(budget / (1 - RESERVE)))
    total = usable + (CONTEXT if kind != "cpu" else 0)
    found = Machine(
        "test", kind, total, total, GIB, GIB, copy_rate=copy_rate, matrix_rate=1e12, host_rate=1e11
    )
    assert budget <= found.budget <= budget + 8
    return found


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


def test_the_host_computes_where_nothing_else_fits():
    found = plan(FOOTPRINT, machine(550 * MIB))
    assert found.placement("dit").residency is H
    assert found.stage("denoise").host and found.stage("denoise").peak == 0
    assert found.stage("denoise").seconds == pytest.approx(80)
    assert found.host_peak >= FOOTPRINT.components[1].bytes


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


# --- beside an exhaustive search -------------------------------------------------------------


def coarse(rng: random.Random) -> Footprint:
    """Three parts of two or three blocks, each used once, as in a song."""
    parts = []
    for name in "abc":
        blocks = (rng.randrange(1, 9) * MIB,) * rng.choice((0, 4, 5))
        half = Form("int8", tuple(b // 2 for b in blocks), MIB)
        others = (half,) if rng.random() < 0.5 else ()
        parts.append(Component(name, blocks, rng.randrange(0, 6) * MIB, "bfloat16", others))
    stages = []
    for name, uses in (("one", ("a",)), ("two", ("b", "c")), ("three", ())):
        room = sorted((rng.randrange(0, 40) for _ in range(rng.choice((1, 3)))), reverse=True)
        stages.append(
            Stage(name, uses, ways(*room), rng.choice((1, 8)), rng.random() * 3e11,
                  result=rng.choice((0, MIB)))
        )  # fmt: skip
    return Footprint(tuple(parts), tuple(stages))


def exhaustive(footprint: Footprint, where: Machine) -> float | None:
    """Seconds of the best of all plans, found by building every one of them."""

    def places(c: Component) -> Iterator[tuple[Form, Residency, int]]:
        for form in c.forms:
            yield from ((form, how, 0) for how in (R, SW, H))
            for kept in range(max(0, len(form.blocks) - SLOTS + 1)):
                yield form, ST, kept

    best: dict[bool, float] = {}
    for placed in product(*(tuple(places(c)) for c in footprint.components)):
        by_name = dict(zip((c.name for c in footprint.components), placed, strict=True))
        total, held, fits = 0.0, 0, True
        for stage in footprint.stages:
            used = [by_name[name] for name in stage.uses]
            on_host = [how is H for _, how, _ in used]
            if any(on_host) and not all(on_host):
                fits = False
                break
            times = [_time(stage, way, used, by_name, held, where) for way in stage.ways]
            if min(times) == math.inf:
                fits = False
                break
            total, held = total + min(times), held + stage.result
        if fits:
            hosted = any(how is H for _, how, _ in placed)
            best[hosted] = min(total, best.get(hosted, math.inf))
    return best.get(False, best.get(True))


def _time(stage, way, used, by_name, held, where) -> float:
    bytes_, first, through = held, 0, 0
    for form, how, _ in by_name.values():
        bytes_ += form.bytes if how is R else 0
    if used and all(how is H for _, how, _ in used):
        slow = max(1.4 if form.precision == "int8" else 1.0 for form, _, _ in used)
        fits = bytes_ <= where.budget and way is stage.ways[0]
        return stage.flops * slow / where.host_rate if fits else math.inf
    bytes_ += way.workspace
    for form, how, kept in used:
        if how is SW:
            bytes_, first = bytes_ + form.bytes, first + form.bytes
        if how is ST:
            streamed = form.blocks[kept:]
            bytes_ += form.bytes - sum(streamed) + SLOTS * max(streamed)
            first, through = first + form.bytes - sum(streamed), through + sum(streamed)
    if bytes_ > where.budget:
        return math.inf
    compute = stage.flops * (1 + way.more) / where.matrix_rate
    return first / 1e9 + max(compute, through * stage.passes * way.pieces / 1e9)


@pytest.mark.parametrize("seed", range(40))
def test_no_plan_is_better_and_none_is_missed(seed):
    rng = random.Random(seed)
    footprint, where = coarse(rng), machine(rng.randrange(2, 90) * MIB)
    best = exhaustive(footprint, where)
    if best is None:
        with pytest.raises(DoesNotFit):
            plan(footprint, where)
    else:
        assert plan(footprint, where).seconds == pytest.approx(best, rel=1e-6, abs=1e-7)
