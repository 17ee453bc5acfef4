from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.diffusion.schedule import (
    TURBO_TIMES,
    CustomTimes,
    Schedule,
    cover_switch,
    custom,
    guided_times,
    linear,
    truncate,
    turbo,
)
from headroom.errors import InvalidRequest


@given(steps=st.integers(1, 200), shift=st.floats(0.1, 10))
def test_a_schedule_falls_from_one_to_zero_in_the_asked_steps(steps: int, shift: float) -> None:
    for schedule in (linear(steps, shift), turbo(steps, shift)):
        assert schedule.steps == steps
        assert schedule.times[0] == pytest.approx(1.0) and schedule.times[-1] == 0.0
        assert all(a > b for a, b in zip(schedule.times, schedule.times[1:], strict=False))


def test_turbo_honours_other_steps_and_shifts() -> None:
    assert turbo(4, 3.0).times == pytest.approx((1, 0.9, 0.75, 0.5, 0))
    assert turbo(8, 2.5).times[4] == pytest.approx(2.5 * 0.5 / 1.75)


@given(st.integers(1, 100), st.floats(0.5, 5), st.floats(0, 1))
def test_truncation_keeps_the_tail_from_the_nearest_time(n: int, s: float, noise: float) -> None:
    whole = linear(n, s)
    part = truncate(whole, noise)
    assert whole.times[-len(part.times) :] == part.times
    if noise == 0:
        assert part == whole
    else:
        nearest = min(abs(t - (1 - noise)) for t in whole.times[:-1])
        assert abs(part.times[0] - (1 - noise)) == nearest


def test_full_strength_still_runs_one_step() -> None:
    assert truncate(linear(8, 1.0), 1.0).times == (0.125, 0.0)


def test_cover_switch_counts_the_steps_that_are_run() -> None:
    schedule = linear(8, 3.0)
    assert [cover_switch(schedule, a) for a in (0, 0.5, 0.7, 1)] == [0, 4, 5, 8]
    assert cover_switch(truncate(schedule, 0.4), 0.5) == 1  # of 3


def test_custom_times_by_rule() -> None:
    asked = [1.0, 0.61, 0.2, 0.0, 0]
    assert custom(asked, CustomTimes.SNAP).times == pytest.approx((1, 0.625, 2 / 9, 0))
    assert custom(asked, CustomTimes.FREE).times == (1.0, 0.61, 0.2, 0.0)
    assert custom([1.0, 0.6, 0.2], CustomTimes.GIVEN) == Schedule((1.0, 0.6, 0.2))
    assert custom([0.96, 0.955], CustomTimes.SNAP).times == (21 / 22, 21 / 22, 0.0)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=20))
def test_snapped_times_are_published_ones(times: list[float]) -> None:
    got = custom(sorted(times, reverse=True), CustomTimes.SNAP)
    assert set(got.times[:-1]) <= set(TURBO_TIMES) and got.steps == len(times)


@pytest.mark.parametrize(
    ("times", "rule"),
    [
        ([], CustomTimes.SNAP),
        ([0.0, 0.0], CustomTimes.SNAP),
        ([1 - k / 30 for k in range(21)], CustomTimes.FREE),
        ([0.5, 0.6], CustomTimes.SNAP),
        ([1.0, math.nan, 0.0], CustomTimes.GIVEN),
        ([1.0, math.inf], CustomTimes.GIVEN),
        ([1.5, 0.5], CustomTimes.GIVEN),
        ([1.0, 0.0, 0.0], CustomTimes.GIVEN),
        ([1.0], CustomTimes.GIVEN),
        ([0.5, -0.1], CustomTimes.FREE),
    ],
)
def test_unreadable_times_are_refused(times: list[float], rule: CustomTimes) -> None:
    with pytest.raises(InvalidRequest, match=r"^timesteps: "):
        custom(times, rule)


@pytest.mark.parametrize(
    ("steps", "shift", "field"),
    [
        (0, 1.0, "inference_steps"),
        (-3, 1.0, "inference_steps"),
        (2.5, 1.0, "inference_steps"),
        (True, 1.0, "inference_steps"),
        (8, 0.0, "shift"),
        (8, math.nan, "shift"),
        (8, math.inf, "shift"),
    ],
)
def test_nonsense_is_refused(steps: int, shift: float, field: str) -> None:
    for make in (linear, turbo):
        with pytest.raises(InvalidRequest, match=field):
            make(steps, shift)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_fractions_outside_zero_to_one_are_refused(value: float) -> None:
    schedule = linear(4, 1.0)
    for call in (
        lambda: truncate(schedule, value),
        lambda: cover_switch(schedule, value),
        lambda: guided_times(schedule, value, 1),
        lambda: guided_times(schedule, 0, value),
    ):
        with pytest.raises(InvalidRequest, match="from 0 to 1"):
            call()
    with pytest.raises(InvalidRequest, match="cfg_interval_start"):
        guided_times(schedule, 0.7, 0.3)


def test_interval_holds_its_ends_and_one_flag_for_every_time() -> None:
    assert guided_times(linear(4, 1.0), 0.25, 0.5) == (False, False, True, True, False)
    assert guided_times(turbo(8, 3.0), 0.3, 1.0)[7]
    assert guided_times(linear(4, 1.0), 0, 1) == (True,) * 5


def test_schedules_need_no_torch() -> None:
    code = "import sys, headroom.diffusion.schedule; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
