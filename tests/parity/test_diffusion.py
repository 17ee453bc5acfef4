"""The samplers against a scalar reference, the guidance rules against diffusers and plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from torch import Tensor

from headroom.diffusion import corrections, guidance, noise, samplers
from headroom.diffusion.samplers import Velocity
from headroom.diffusion.schedule import (
    TURBO_TABLES,
    CustomTimes,
    Schedule,
    cover_switch,
    custom,
    guided_times,
    linear,
    truncate,
    turbo,
)
from support import scalar_sampler as scalar
from support.near import ULP, assert_agrees, twice

T, C = 31, 8
TOLERANCE = 5e-5
Array = npt.NDArray[np.float64]


class Net:
    """A small random network of x, t, the condition (or none) and which of two conditions."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.w1, self.w2 = rng.normal(size=(C, 24)) / 2, rng.normal(size=(24, C)) / 2
        self.time = rng.normal(size=24)
        self.conditions = rng.normal(size=(3, 24))
        whole = (self.w1, self.w2, self.time, self.conditions)
        self.tensors = tuple(torch.tensor(a, dtype=torch.float32) for a in whole)

    def numpy(self, x: Array, t: float, conditioned: bool, second: bool) -> Array:
        row = self.conditions[(1 + second) if conditioned else 0]
        out: Array = np.tanh(x @ self.w1 + t * self.time + row) @ self.w2
        return out

    def torch(
        self, times: Sequence[float], conditioned: bool = True, second: bool = False
    ) -> Velocity:
        w1, w2, time, rows = self.tensors
        row = rows[(1 + second) if conditioned else 0]

        def velocity(x: Tensor, k: int) -> Tensor:
            valid = (x != 0).any(-1, keepdim=True)
            out: Tensor = torch.tanh(x @ w1 + times[k] * time + row) @ w2
            return out * valid

        return velocity

    def pair(self, times: Sequence[float]) -> guidance.VelocityPair:
        with_it, without = self.torch(times), self.torch(times, conditioned=False)
        return lambda x, k: (with_it(x, k), without(x, k))


NET = Net()
START = noise.draw_noise([7], [T], C)
SOURCE = noise.draw_noise([8], [T], C, noise.NoiseStream.ENCODE)


def guided_by(
    schedule: Schedule, rule: guidance.GuidanceRule, scale: float, start: float, end: float
) -> Velocity:
    flags = guided_times(schedule, start, end)
    single = NET.torch(schedule.times)
    return guidance.guide(NET.pair(schedule.times), single, rule, scale, schedule, flags)


def close(got: Tensor, want: Array, tolerance: float = TOLERANCE) -> None:
    assert got.dtype == torch.float32
    worst = float(np.abs(got[0].double().numpy() - want).max())
    assert worst <= tolerance, worst


def reference(case: scalar.Case, start: Tensor = START) -> Array:
    return scalar.run(NET.numpy, start[0].double().numpy(), case)


# --- schedules ----------------------------------------------------------------------------------

PUBLISHED = {
    1.0: [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125],
    2.0: [1, 0.933333333, 0.857142857, 0.769230769, 0.666666667, 0.545454545, 0.4, 0.222222222],
    3.0: [1, 0.954545455, 0.9, 0.833333333, 0.75, 0.642857143, 0.5, 0.3],
}


@pytest.mark.parametrize("shift", PUBLISHED)
def test_turbo_plays_the_published_tables(shift: float) -> None:
    times = turbo(8, shift).times
    np.testing.assert_allclose(times, [*PUBLISHED[shift], 0], atol=1e-7, rtol=0)
    np.testing.assert_allclose(times, linear(8, shift).times, atol=1e-7, rtol=0)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_base_schedule_of_fifty_steps(shift: float) -> None:
    u = np.linspace(1, 0, 51)
    want = shift * u / (1 + (shift - 1) * u)
    np.testing.assert_allclose(linear(50, shift).times, want, atol=1e-7, rtol=0)


def test_custom_turbo_times_snap_to_the_published_ones() -> None:
    asked = [0.97, 0.76, 0.615, 0.5, 0.395, 0.28, 0.18, 0.085, 0]
    known = sorted({t for row in PUBLISHED.values() for t in row})
    want = [min(known, key=lambda k, t=t: abs(k - t)) for t in asked[:-1]]
    got = custom(asked, CustomTimes.SNAP).times
    np.testing.assert_allclose(got, [*want, 0], atol=1e-7, rtol=0)
    assert len({t for row in TURBO_TABLES.values() for t in row}) == 20


# --- samplers -----------------------------------------------------------------------------------


def test_euler_without_guidance() -> None:
    schedule = linear(5, 3.0)
    got = samplers.euler(NET.torch(schedule.times), START, schedule)
    close(got, reference(scalar.Case(list(schedule.times))))


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.0, 0.5), (0.3, 0.9)])
def test_euler_guided_by_apg(interval: tuple[float, float]) -> None:
    schedule = linear(5, 1.0)
    velocity = guided_by(schedule, guidance.guidance_rule("apg", START), 7.0, *interval)
    got = samplers.euler(velocity, START, schedule)
    close(got, reference(scalar.Case(list(schedule.times), 7.0, interval)))


def test_the_guidance_interval_is_on_t_itself() -> None:
    """[0, 0.5] guides the second half; reading it on 1 − t guides the first and is far off."""
    schedule = linear(4, 1.0)
    assert [
        t for t, on in zip(schedule.times, guided_times(schedule, 0, 0.5), strict=True) if on
    ] == [
        0.5,
        0.25,
        0.0,
    ]
    want = reference(scalar.Case(list(schedule.times), 7.0, (0.0, 0.5)))
    rule = guidance.guidance_rule("apg", START)
    close(samplers.euler(guided_by(schedule, rule, 7.0, 0, 0.5), START, schedule), want)

    on_the_wrong_side = tuple(0 <= 1 - t <= 0.5 for t in schedule.times)
    single = NET.torch(schedule.times)
    rule = guidance.guidance_rule("apg", START)
    wrong = guidance.guide(NET.pair(schedule.times), single, rule, 7.0, schedule, on_the_wrong_side)
    assert np.abs(samplers.euler(wrong, START, schedule)[0].numpy() - want).max() > 0.1


def test_cover_strength_switches_at_one_step() -> None:
    """Not a blend of two velocities at every step, which costs twice as much and is far off."""
    schedule = linear(5, 3.0)
    step = cover_switch(schedule, 0.5)
    assert step == 2
    first, second = NET.torch(schedule.times), NET.torch(schedule.times, second=True)
    calls: list[int] = []

    def counted(x: Tensor, k: int) -> Tensor:
        calls.append(k)
        return samplers.switched(first, second, step)(x, k)

    got = samplers.euler(counted, START, schedule)
    want = reference(scalar.Case(list(schedule.times), switch=2))
    close(got, want)
    assert calls == [0, 1, 2, 3, 4]

    blended = samplers.euler(lambda x, k: 0.5 * first(x, k) + 0.5 * second(x, k), START, schedule)
    assert np.abs(blended[0].numpy() - want).max() > 0.05


def test_cover_noise_strength_starts_from_the_source() -> None:
    schedule = truncate(linear(8, 3.0), 0.4)  # 1 − 0.4 = 0.6: between 0.643 and 0.5
    assert schedule.times[0] == pytest.approx(9 / 14) and schedule.steps == 3
    start = samplers.renoise(SOURCE, START, schedule.times[0])
    got = samplers.euler(NET.torch(schedule.times), start, schedule)
    mixed = 9 / 14 * START[0].double().numpy() + 5 / 14 * SOURCE[0].double().numpy()
    want = scalar.run(NET.numpy, mixed, scalar.Case([9 / 14, 0.5, 0.3, 0.0]))
    close(got, want)


@pytest.mark.parametrize("family", ["turbo", "base"])
def test_sde_with_given_noise(family: str) -> None:
    schedule = linear(5, 3.0)
    fresh = [noise.draw_noise([7], [T], C, noise.NoiseStream.SDE, k) for k in range(5)]
    levels = {"turbo": samplers.turbo_levels, "base": samplers.base_levels}[family](schedule)
    got = samplers.sde(
        NET.torch(schedule.times), START, schedule, fresh=lambda k: fresh[k], levels=levels
    )
    written = {
        "turbo": [12 / 13, 9 / 11, 2 / 3, 3 / 7, 0.0],
        "base": [0.8, 0.6, 0.4, 0.2, 0.0],
    }[family]
    case = scalar.Case(
        list(schedule.times),
        method="sde",
        levels=written,
        fresh=[f[0].double().numpy() for f in fresh],
    )
    close(got, reference(case))


@pytest.mark.parametrize("last_too", [True, False])
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_heun(scale: float, last_too: bool) -> None:
    schedule = linear(5, 3.0)
    interval = (0.1, 0.9)
    rule = guidance.guidance_rule("apg", START)
    ahead = guided_by(schedule, guidance.look_ahead_rule(rule), scale, *interval)
    velocity = guided_by(schedule, rule, scale, *interval)
    got = samplers.heun(velocity, START, schedule, look_ahead=ahead, last_too=last_too)
    case = scalar.Case(list(schedule.times), scale, interval, method="heun", heun_last=last_too)
    close(got, reference(case))


def test_heun_switches_condition_at_the_step_not_at_the_time() -> None:
    schedule = linear(5, 3.0)
    first, second = NET.torch(schedule.times), NET.torch(schedule.times, second=True)
    got = samplers.heun(
        samplers.switched(first, second, 2),
        START,
        schedule,
        look_ahead=samplers.switched(first, second, 3),
    )
    close(got, reference(scalar.Case(list(schedule.times), method="heun", switch=2)))


@pytest.mark.parametrize("method", ["euler", "sde"])
def test_repaint_injection_and_blend(method: str) -> None:
    schedule = linear(5, 3.0)
    region, ramp = (10, 20), 4
    levels = schedule.times[1:] if method == "euler" else samplers.base_levels(schedule)
    hard = corrections.soft_mask([region], [T], T, 0)
    inject = corrections.injection(SOURCE, START, hard, 0.5, levels)
    velocity = NET.torch(schedule.times)
    fresh = [noise.draw_noise([7], [T], C, noise.NoiseStream.SDE, k) for k in range(5)]
    if method == "euler":
        x = samplers.euler(velocity, START, schedule, correct=[inject])
    else:
        x = samplers.sde(
            velocity,
            START,
            schedule,
            fresh=lambda k: fresh[k],
            levels=levels,
            correct=[inject],
        )
    got = corrections.blend(x, SOURCE, corrections.soft_mask([region], [T], T, ramp))
    case = scalar.Case(
        list(schedule.times),
        method=method,
        levels=list(levels),
        fresh=[f[0].double().numpy() for f in fresh],
        source=SOURCE[0].double().numpy(),
        region=region,
        inject_steps=2,
        ramp=ramp,
    )
    close(got, reference(case))
    assert torch.equal(got[:, :6], SOURCE[:, :6]) and torch.equal(got[:, 24:], SOURCE[:, 24:])


# --- guidance -----------------------------------------------------------------------------------


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_apg_is_diffusers_normalized_guidance_over_three_steps_one_skipped() -> None:
    schedule = linear(4, 1.0)
    flags = (True, False, True, True, False)
    pairs = [(random(2, T, C, seed=k), random(2, T, C, seed=10 + k)) for k in range(4)]
    x = random(2, T, C, seed=99)
    velocity = guidance.guide(
        lambda x, k: pairs[k],
        lambda x, k: pairs[k][0],
        guidance.guidance_rule("apg", x),
        7.0,
        schedule,
        flags,
    )

    def theirs() -> list[Tensor]:
        oracle, made = MomentumBuffer(-0.75), []
        for (v_c, v_n), flag in zip(pairs, flags, strict=False):
            # guided, or at least in the type of what is computed
            led = partial(normalized_guidance, use_original_formulation=True, norm_dim=1)
            made.append(led(v_c, v_n, 6.0, oracle, 0.0, 2.5) if flag else v_c * 1)
        return made

    for k, (want, exact) in enumerate(zip(*twice(theirs), strict=True)):
        assert_agrees(velocity(x, k), want, exact, k)


@pytest.mark.parametrize(
    ("name", "clip", "keep"),
    [("adg", 3.14 / 6, False), ("adg_w_norm", 3.14 / 3, True), ("adg_wo_clip", None, False)],
)
@pytest.mark.parametrize("apart", [1.0, 1e-2])
def test_adg_against_a_plain_formula(
    name: str, clip: float | None, keep: bool, apart: float
) -> None:
    v_c, x = random(1, T, C, seed=1), random(1, T, C, seed=3)
    v_n = v_c + apart * random(1, T, C, seed=2)
    got, exact = twice(lambda: guidance.guidance_rule(name, x)(v_c, v_n, x, 0.4, 3.5))
    a, b, c = (z[0].double().numpy() for z in (v_c, v_n, x))
    want = scalar.adg(a, b, c, 0.4, 3.5, clip, keep)
    largest = max(1, np.abs(want).max())
    assert np.abs(exact[0].numpy() - want).max() <= 1e-9 * largest
    assert np.abs(got[0].numpy() - want).max() <= 32 * ULP * largest


# --- ragged batches -----------------------------------------------------------------------------

LENGTHS = [31, 17, 24]
SEEDS = [3, 4, 5]


def ragged_run(kind: str, lengths: list[int], seeds: list[int]) -> Tensor:
    """One of every rule over a batch of songs of these lengths."""
    schedule = linear(5, 3.0)
    frames = max(lengths)
    start = noise.draw_noise(seeds, lengths, C)
    source = noise.draw_noise(seeds, lengths, C, noise.NoiseStream.ENCODE)
    valid = corrections.frame_mask(lengths, frames)
    region = corrections.soft_mask([(5, 12)] * len(seeds), lengths, frames, 0)
    single = NET.torch(schedule.times)
    inject = corrections.injection(source, start, region, 0.6, schedule.times[1:])
    if kind in tuple(guidance.GuidanceName):
        rule = guidance.guidance_rule(kind, start)
        flags = guided_times(schedule, 0.2, 1.0)
        pair = NET.pair(schedule.times)
        velocity = guidance.guide(pair, single, rule, 5.0, schedule, flags)
        return samplers.euler(velocity, start, schedule)

    def fresh(k: int) -> Tensor:
        return noise.draw_noise(seeds, lengths, C, noise.NoiseStream.SDE, k)

    def dcw(mode: corrections.DcwMode) -> samplers.Correction:
        return corrections.dcw(schedule, mode, 0.3, 0.2, valid)

    soft = corrections.soft_mask([(5, 12)] * len(seeds), lengths, frames, 9)
    steady = samplers.Steady(norm_clamp=0.3, ema=0.2)
    runs: dict[str, Callable[[], Tensor]] = {
        "euler": lambda: samplers.euler(single, start, schedule),
        "heun": lambda: samplers.heun(single, start, schedule, steady=steady),
        "sde": lambda: samplers.sde(
            single,
            start,
            schedule,
            fresh=fresh,
            levels=samplers.base_levels(schedule),
        ),
        "steady": lambda: samplers.euler(single, start, schedule, steady=steady),
        "repaint": lambda: corrections.blend(
            samplers.euler(single, start, schedule, correct=[inject]), source, soft
        ),
        "low": lambda: samplers.euler(single, start, schedule, correct=[dcw("low")]),
        "high": lambda: samplers.euler(single, start, schedule, correct=[dcw("high")]),
        "double": lambda: samplers.euler(single, start, schedule, correct=[dcw("double"), inject]),
        "pix": lambda: samplers.euler(single, start, schedule, correct=[dcw("pix")]),
        "retake": lambda: samplers.euler(
            single,
            corrections.retake(
                start, noise.draw_noise(seeds, lengths, C, noise.NoiseStream.RETAKE), 0.4
            ),
            schedule,
        ),
    }
    return runs[kind]()


@pytest.mark.parametrize(
    "kind",
    [
        *guidance.GuidanceName,
        *("euler", "heun", "sde", "steady", "repaint", "low", "high", "double", "pix", "retake"),
    ],
)
def test_a_ragged_batch_is_its_songs_alone(kind: str) -> None:
    together = ragged_run(kind, LENGTHS, SEEDS)
    for row, (length, seed) in enumerate(zip(LENGTHS, SEEDS, strict=True)):
        alone, exact = twice(partial(ragged_run, kind, [length], [seed]))
        assert alone.isfinite().all() and alone.abs().max() > 0.1
        assert_agrees(together[row, :length], alone[0], exact[0], row)
        assert torch.equal(together[row, length:], torch.zeros(max(LENGTHS) - length, C))
