"""No plan is better than the one that is found: compared with all there are, on small footprints.

`python scripts/prove planner` compares more of them, and measures how long planning takes.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from headroom.errors import DoesNotFit
from headroom.memory.plan import Residency
from headroom.memory.planner import least_peak, plan
from headroom.units import MIB
from support.exhaustive import coarse, exhaustive


@pytest.mark.parametrize("seed", range(60))
def test_no_plan_is_better_and_none_is_missed(seed):
    footprint, where = coarse(random.Random(seed))
    best = exhaustive(footprint, where)
    assert least_peak(footprint, where) == best.least
    if best.seconds is None:
        with pytest.raises(DoesNotFit) as caught:
            plan(footprint, where)
        assert caught.value.least == best.least > where.budget
        return
    found = plan(footprint, where)
    assert found.seconds == pytest.approx(best.seconds, rel=1e-6, abs=1e-7)
    for stage in found.stages:
        assert sum(share.bytes for share in stage.shares) == stage.peak <= where.budget


def test_the_cases_are_of_every_kind():
    seen, refused = set(), 0
    for seed in range(60):
        footprint, where = coarse(random.Random(seed))
        try:
            found = plan(footprint, where)
        except DoesNotFit:
            refused += 1
        else:
            seen |= {p.residency for p in found.placements}
            seen |= {"kept" for p in found.placements if p.kept}
            seen |= {"converted" for p in found.placements if p.precision == "int8"}
            seen |= {"pieces" for s in found.stages if s.pieces > 1}
    assert seen == {*Residency, "kept", "converted", "pieces"}
    assert 3 <= refused <= 20


@pytest.mark.parametrize("seed", range(60))
def test_a_byte_more_is_never_slower_nor_refused(seed):
    """Every budget at which a plan changes, and a byte above and below it."""
    footprint, where = coarse(random.Random(1000 + seed))
    budget, last = 0, None
    for room in range(0, 100 * MIB, MIB // 2):
        here = replace(where, free=where.free - where.budget + room)
        assert here.budget >= budget
        budget = here.budget
        try:
            seconds = plan(footprint, here).seconds
        except DoesNotFit:
            assert last is None
            continue
        assert last is None or seconds <= last
        last = seconds
