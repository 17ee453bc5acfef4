from __future__ import annotations

from dataclasses import replace

import pytest

from headroom.hardware.machine import card
from headroom.memory.explain import _with, alternatives, explain, say
from headroom.memory.footprint import Component, Footprint, Stage, Way
from headroom.memory.plan import NO_WISHES
from headroom.memory.planner import plan
from headroom.units import GIB, MIB

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


@pytest.mark.parametrize("gibibytes", [3, 4, 6])
def test_an_alternative_has_exactly_the_bytes_it_lacks(gibibytes):
    machine = card(gibibytes)
    found = plan(WORK, machine)
    others = alternatives(WORK, machine, NO_WISHES, found)
    assert len(others) >= 2
    for other in others:
        there = plan(WORK, _with(machine, found.budget + other.bytes))
        assert there.seconds - found.seconds == pytest.approx(other.seconds, abs=1e-6)
        short = plan(WORK, _with(machine, found.budget + other.bytes - MIB))
        assert short.seconds > there.seconds


def test_a_budget_can_be_had_to_the_byte():
    for budget in (GIB, 5 * GIB + 123, 40 * GIB):
        assert abs(_with(card(8), budget).budget - budget) <= 1


def test_with_room_for_everything_only_less_is_offered():
    machine = card(24)
    others = alternatives(WORK, machine, NO_WISHES, plan(WORK, machine))
    assert len(others) >= 2 and all(o.bytes < 0 for o in others)


def test_the_words_hold_every_byte():
    machine = replace(card(4), libraries=64 * MIB)
    text = say(WORK, machine)
    found = plan(WORK, machine)
    assert "libraries" in text and "work of denoise" in text and "to spare" in text
    assert "with " in text and " it would take " in text
    for stage in found.stages:
        assert sum(share.bytes for share in stage.shares) == stage.peak
    assert explain(found).splitlines()[0] == "parts"
