from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headroom.diffusion import corrections, guidance, samplers
from headroom.diffusion.schedule import guided_times, linear
from headroom.errors import Cancelled


def steady_flow(x: Tensor, k: int) -> Tensor:
    """The exact velocity towards data = 2 along a straight line from noise = 5."""
    return torch.full_like(x, 3.0)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_a_straight_flow_is_followed_exactly(steps: int) -> None:
    x = torch.full((1, 4, 2), 5.0)
    schedule = linear(steps, 3.0)
    runs = (
        samplers.euler(steady_flow, x, schedule),
        samplers.heun(steady_flow, x, schedule),
        samplers.sde(
            steady_flow,
            x,
            schedule,
            fresh=lambda k: torch.full_like(x, 5.0),
            levels=samplers.turbo_levels(schedule),
        ),
    )
    for got in runs:
        torch.testing.assert_close(got, torch.full_like(x, 2.0))


def test_heun_is_of_second_order() -> None:
    """v = x: the exact end from 1 is e^-1; halving the step quarters the error, Euler's halves."""

    def error(run: Callable[..., Tensor], steps: int) -> float:
        got = run(lambda x, k: x, torch.ones(1, 1, 1), linear(steps, 1.0))
        return abs(float(got) - math.exp(-1))

    assert error(samplers.heun, 8) / error(samplers.heun, 16) == pytest.approx(4, rel=0.1)
    assert error(samplers.euler, 8) / error(samplers.euler, 16) == pytest.approx(2, rel=0.1)


def test_forwards_and_the_indices_they_see() -> None:
    seen: list[int] = []
    ahead: list[int] = []

    def v(x: Tensor, k: int) -> Tensor:
        seen.append(k)
        return x

    def w(x: Tensor, k: int) -> Tensor:
        ahead.append(k)
        return x

    samplers.heun(v, torch.ones(1, 2, 2), linear(3, 1.0), look_ahead=w)
    assert (seen, ahead) == ([0, 1, 2], [1, 2, 3])
    ahead.clear()
    samplers.heun(v, torch.ones(1, 2, 2), linear(3, 1.0), look_ahead=w, last_too=False)
    assert ahead == [1, 2]


def test_norm_clamp_and_smoothing_by_hand() -> None:
    x = torch.ones(2, 4, 1)
    v = torch.cat([torch.full((1, 4, 1), 3.0), torch.full((1, 4, 1), 0.5)])
    got = samplers.Steady(norm_clamp=2.0)(v, x, None)
    torch.testing.assert_close(got[:, 0, 0], torch.tensor([2.0, 0.5]))  # each item by itself
    got = samplers.Steady(ema=0.25)(v, x, torch.ones_like(v))
    torch.testing.assert_close(got[:, 0, 0], torch.tensor([2.5, 0.625]))
    assert samplers.CALM(v, x, torch.ones_like(v)) is v


def test_smoothing_uses_the_velocity_that_was_used() -> None:
    values = iter([4.0, 0.0, 0.0])
    schedule = linear(3, 1.0)
    got = samplers.euler(
        lambda x, k: torch.full_like(x, next(values)),
        torch.zeros(1, 1, 1),
        schedule,
        steady=samplers.Steady(ema=0.5),
    )
    assert float(got) == pytest.approx(-(4 + 2 + 1) / 3)


def test_corrections_come_in_order_and_see_the_step() -> None:
    told: list[tuple[int, float, float, float]] = []

    def add(k: int, before: Tensor, v: Tensor, after: Tensor) -> Tensor:
        told.append((k, float(before), float(v), float(after)))
        return after + 1

    def double(k: int, before: Tensor, v: Tensor, after: Tensor) -> Tensor:
        return after * 2

    got = samplers.euler(
        lambda x, k: torch.full_like(x, 2.0),
        torch.zeros(1, 1, 1),
        linear(2, 1.0),
        correct=[add, double],
    )
    assert told == [(0, 0.0, 2.0, -1.0), (1, 0.0, 2.0, -1.0)] and float(got) == 0.0


def test_cancelling_before_a_step_runs_no_more_forwards() -> None:
    forwards: list[int] = []

    def stop(k: int) -> None:
        if k == 2:
            raise Cancelled("stopped")

    def v(x: Tensor, k: int) -> Tensor:
        forwards.append(k)
        return x

    with pytest.raises(Cancelled):
        samplers.euler(v, torch.ones(1, 2, 2), linear(5, 1.0), on_step=stop)
    assert forwards == [0, 1]


def test_the_start_is_not_written_to_and_steps_are_fp32() -> None:
    x = torch.ones(1, 4, 2)
    kept = x.clone()

    def half(x: Tensor, k: int) -> Tensor:
        assert x.dtype == torch.float32
        return (x * 0.3).bfloat16()

    got = samplers.euler(half, x, linear(4, 1.0))
    assert got.dtype == torch.float32 and torch.equal(x, kept)


@pytest.mark.parametrize("name", guidance.GuidanceName)
@pytest.mark.parametrize("mode", ["low", "double", "pix"])
def test_nothing_reads_a_tensors_value(name: str, mode: corrections.DcwMode) -> None:
    """Tensors on `meta` have no values: a loop that asked for one would fail here."""
    x = torch.empty(2, 9, 4, device="meta")
    schedule = linear(4, 2.0)
    valid = corrections.frame_mask([9, 5], 9, x.device)
    region = corrections.soft_mask([(2, 4), (1, 5)], [9, 5], 9, 2, x.device)
    correct = [
        corrections.dcw(schedule, mode, 0.05, 0.02, valid),
        corrections.injection(x, x, region, 0.5, samplers.base_levels(schedule)),
    ]
    rule = guidance.guidance_rule(name, x)
    velocity = guidance.guide(
        lambda x, k: (x * 2, x), lambda x, k: x, rule, 7.0, schedule, guided_times(schedule, 0, 0.8)
    )
    steady = samplers.Steady(2.0, 0.1)
    ends = (
        samplers.euler(velocity, x, schedule, steady=steady, correct=correct),
        samplers.heun(velocity, x, schedule, steady=steady, correct=correct),
        samplers.sde(
            velocity,
            x,
            schedule,
            fresh=lambda k: torch.empty_like(x),
            levels=samplers.base_levels(schedule),
            correct=correct,
        ),
    )
    for end in ends:
        blended = corrections.blend(end, x, region)
        assert blended.shape == x.shape and blended.device.type == "meta"
