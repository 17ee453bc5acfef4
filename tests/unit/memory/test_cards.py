"""Plans for a group of cards: compared with all there are, and what must hold of each."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine, card, group
from headroom.memory.explain import alternatives, explain
from headroom.memory.footprint import Component, Footprint, Stage, Way
from headroom.memory.plan import Residency, Wish, Wishes
from headroom.memory.planner import plan
from headroom.units import MIB
from support.exhaustive import coarse, exhaustive_on_cards, machine

STAYS = Residency.RESIDENT


def several(seed: int) -> tuple[Footprint, tuple[Machine, ...]]:
    """A small footprint of two or three acts, and two cards that may differ."""
    rng = random.Random(seed)
    footprint, where = coarse(rng)
    borders = rng.choice(((1,), (1, 2)))
    other = rng.choice((where, machine(rng.randrange(2, 90) * MIB), replace(where, copy_rate=3e9)))
    return replace(footprint, borders=borders), (where, other)


@pytest.mark.parametrize("seed", range(40))
def test_no_assignment_to_cards_is_better_and_none_is_missed(seed: int) -> None:
    footprint, cards = several(seed)
    if any(c.copy_rate != 1e9 for c in cards):  # the exhaustive search knows one rate
        cards = tuple(replace(c, copy_rate=1e9) for c in cards)
    best = exhaustive_on_cards(footprint, cards)
    if best.seconds is None:
        with pytest.raises(DoesNotFit) as caught:
            plan(footprint, group(cards))
        assert caught.value.least - caught.value.budget == best.least > 0
        return
    found = plan(footprint, group(cards))
    assert found.seconds == pytest.approx(best.seconds, rel=1e-6, abs=1e-7)
    for stage in found.stages:
        assert sum(share.bytes for share in stage.shares) == stage.peak
        assert stage.peak <= cards[stage.card].budget
        assert all(found.placement(name).card == stage.card for name in stage.uses)


def test_the_cases_use_one_card_and_both_and_are_refused() -> None:
    used, refused = set(), 0
    for seed in range(40):
        footprint, cards = several(seed)
        try:
            used.add(plan(footprint, group(cards)).cards_used)
        except DoesNotFit:
            refused += 1
    assert used == {(0,), (1,), (0, 1)} and 2 <= refused <= 15


@pytest.mark.parametrize("seed", range(20))
def test_on_each_card_of_a_group_the_plan_is_the_one_for_that_card(seed: int) -> None:
    footprint, cards = several(seed)
    try:
        whole = plan(footprint, group(cards))
    except DoesNotFit:
        return
    for number in whole.cards_used:
        mine = [i for i, s in enumerate(footprint.stages) if whole.stages[i].card == number]
        alone = plan(footprint.only(mine), cards[number])
        on = whole.on(number)
        assert on.budget == cards[number].budget
        assert [replace(s, card=0) for s in on.stages] == list(alone.stages)
        assert [replace(p, card=0) for p in on.placements] == list(alone.placements)
    if whole.cards_used == (0,):
        one = plan(replace(footprint, borders=()), cards[0])
        assert (whole.seconds, whole.host_peak) == (one.seconds, one.host_peak)


def test_a_group_of_one_card_is_the_card() -> None:
    first = machine(100 * MIB)
    assert group([first]) is first and plan(words(40 * MIB), first).cards == ()


def words(size: int) -> Footprint:
    """Two acts with a part each of `size` bytes."""
    parts = tuple(Component(name, (), size, "bfloat16") for name in ("lm", "dit"))
    ways = (Way(MIB),)
    write = Footprint(parts[:1], (Stage("write", ("lm",), ways, passes=100, flops=3e10),))
    return write.then(Footprint(parts[1:], (Stage("denoise", ("dit",), ways, flops=3e10),)))


def test_a_second_card_is_used_where_it_is_faster_and_not_where_one_is_enough() -> None:
    large, small = machine(100 * MIB), machine(50 * MIB)
    assert plan(words(40 * MIB), group([large, large])).cards_used == (0,)
    made = plan(words(40 * MIB), group([small, small]))
    assert [s.card for s in made.stages] == [1, 0]  # the song on the first card
    assert {p.residency for p in made.placements} == {STAYS} and made.copied == 0
    alone = plan(words(40 * MIB), small)
    assert alone.seconds > made.seconds and alone.copied > 0


def test_a_second_card_is_used_where_it_is_the_only_way() -> None:
    device = Wishes(residency=STAYS)
    small = machine(50 * MIB)
    with pytest.raises(DoesNotFit):
        plan(words(40 * MIB), small, device)
    assert plan(words(40 * MIB), group([small, small]), device).cards_used == (0, 1)
    with pytest.raises(DoesNotFit, match=r"denoise|write") as caught:
        plan(words(60 * MIB), group([small, small]), device)
    assert caught.value.budget == small.budget


def test_where_cards_are_equally_good_parts_stay_where_they_are() -> None:
    large = machine(100 * MIB)
    with_dit = replace(large, holds=("dit",))
    with_lm = replace(large, holds=("lm",))
    for order, cards in (((0, 1), (with_dit, with_lm)), ((1, 0), (with_lm, with_dit))):
        made = plan(words(40 * MIB), group(cards))
        assert (made.placement("dit").card, made.placement("lm").card) == order
    # A part that is nowhere goes where the others are.
    assert plan(words(40 * MIB), group([large, with_lm])).cards_used == (1,)


def test_acts_that_share_a_part_are_done_on_one_card() -> None:
    small = machine(50 * MIB)
    shared = words(40 * MIB)
    again = Footprint(shared.components[:1], (Stage("score", ("lm",), (Way(MIB),)),))
    assert shared.then(again).groups() == ((1,), (0, 2))
    made = plan(shared.then(again), group([small, small]))
    assert made.stage("score").card == made.stage("write").card != made.stage("denoise").card


def test_what_is_left_of_several_acts_keeps_its_borders() -> None:
    three = words(MIB).then(Footprint((), (Stage("end", (), (Way(0),)),)))
    assert three.borders == (1, 2)
    assert three.remaining(("write",)).borders == (1,)
    assert three.remaining(("write", "denoise")).borders == ()
    with pytest.raises(ValueError, match="keeps its result until"):
        Footprint((), (Stage("a", (), (Way(0),), until="b"), Stage("b", (), (Way(0),))), (1,))


def test_the_texts_name_the_card_of_everything_and_what_one_alone_would_take() -> None:
    small = machine(50 * MIB)
    both = group([small, small])
    made = plan(words(40 * MIB), both)
    others = alternatives(words(40 * MIB), both, Wishes(), made)
    said = explain(made, others)
    assert "bfloat16  stays on card 1" in said and "bfloat16  stays on card 0" in said
    assert "write: 41 MiB, 30 ms, on card 1" in said and "peak on card 0 41 MiB of 50 MiB" in said
    assert len(others) == 1 and others[0].sentence().startswith("on one card alone it would take ")
    assert "lm stays on the device from run to run on card 1" in made.explain()
    alone = plan(words(40 * MIB), small)
    assert "card" not in explain(alone) and "card" not in alone.explain()


def test_a_wish_holds_on_whichever_card_a_part_is() -> None:
    small = machine(50 * MIB)
    swapped = Wishes(components=(Wish("lm", (Residency.SWAPPED,)),))
    made = plan(words(40 * MIB), group([small, small]), swapped)
    assert made.placement("lm").residency is Residency.SWAPPED
    assert made.placement("dit").residency is STAYS


def test_the_tier_of_a_group_is_that_of_its_largest_card() -> None:
    assert group([card(8), card(24)]).card_bytes == card(24).card_bytes
    assert [c.name for c in group([card(8), card(24)]).cards] == [card(8).name, card(24).name]
