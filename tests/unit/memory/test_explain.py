from __future__ import annotations

import random
from dataclasses import replace

import pytest

from headroom.errors import DoesNotFit
from headroom.hardware.machine import Machine, card
from headroom.memory.explain import Alternative, _with, alternatives, explain, say
from headroom.memory.footprint import Component, Footprint, Stage, Way
from headroom.memory.plan import NO_WISHES, Plan
from headroom.memory.planner import plan
from headroom.units import GIB, MIB
from support.exhaustive import coarse

DIT = Component("dit", (200 * MIB,) * 20, 100 * MIB, "bfloat16", core=True)
VAE = Component("vae", (), 300 * MIB, "bfloat16")
TILES = (Way(900 * MIB, tile=512), Way(300 * MIB, tile=128, more=0.1))
WORK = Footprint(
    (DIT, VAE),
    (
        Stage("denoise", ("dit",), (Way(500 * MIB),), 8, 2e13),
        Stage("decode", ("vae",), TILES, 1, 5e12),
    ),
)


def exact(work: Footprint, machine: Machine, found: Plan) -> list[Alternative]:
    """The alternatives, each shown to have the bytes it lacks and no more."""
    others = [o for o in alternatives(work, machine, NO_WISHES, found) if o.bytes]
    for other in others:
        there = plan(work, _with(machine, found.budget + other.bytes + 1))
        assert there.seconds - found.seconds == pytest.approx(other.seconds, abs=1e-6)
        try:
            short = plan(work, _with(machine, found.budget + other.bytes - 2))
        except DoesNotFit:
            continue
        assert short.seconds > there.seconds
    return others


@pytest.mark.parametrize("gibibytes", [3, 4, 6])
def test_an_alternative_has_exactly_the_bytes_it_lacks(gibibytes):
    machine = card(gibibytes)
    assert exact(WORK, machine, plan(WORK, machine))


def test_so_it_has_where_a_simpler_plan_that_is_as_fast_needs_more():
    shown = 0
    for seed in range(30):
        work, machine = coarse(random.Random(seed))
        try:
            found = plan(work, machine)
        except DoesNotFit:
            continue
        shown += len(exact(work, machine, found))
    assert shown > 30


def test_a_budget_can_be_had_to_the_byte():
    for budget in (GIB, 5 * GIB + 123, 40 * GIB):
        assert abs(_with(card(8), budget).budget - budget) <= 1


def test_with_room_for_everything_only_less_is_offered():
    machine = card(24)
    first, *others = alternatives(WORK, machine, NO_WISHES, plan(WORK, machine))
    assert first.sentence() == "more memory would change nothing."
    assert len(others) >= 2 and all(o.bytes < 0 < o.seconds for o in others)


def test_a_host_too_says_what_less_would_change():
    host = replace(card(16), kind="cpu", host_rate=1e11)
    found = plan(WORK, host)
    first, *others = alternatives(WORK, host, NO_WISHES, found)
    assert first.bytes == 0
    assert [o.what for o in others] == ["decode in tiles of 128"]
    unmeasured = replace(host, host_rate=None)
    assert all(o.bytes for o in alternatives(WORK, unmeasured, NO_WISHES, plan(WORK, unmeasured)))


def test_the_words_hold_every_byte():
    machine = replace(card(4), libraries=64 * MIB)
    text = say(WORK, machine)
    found = plan(WORK, machine)
    assert "libraries" in text and "work of denoise" in text and "to spare" in text
    assert "with " in text and " it would take " in text
    for stage in found.stages:
        assert sum(share.bytes for share in stage.shares) == stage.peak
    assert explain(found).splitlines()[0] == "parts"


def test_where_nobody_knows_how_fast_the_device_is_no_time_is_named() -> None:
    rates = dict.fromkeys(("copy_rate", "memory_rate", "matrix_rate", "host_rate"))
    text = say(WORK, replace(card(6), **rates, host_memory_rate=None))
    assert "time unknown" in text and " ms" not in text and "as long" not in text
    assert "less: " in text
    quick = Footprint((VAE,), (Stage("decode", ("vae",), (Way(MIB),), 1, 1e9),))
    assert "under 1 ms" in say(quick, replace(card(24), memory_rate=1e18))
