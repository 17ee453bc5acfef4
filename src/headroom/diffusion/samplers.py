"""Samplers (Euler, Heun, SDE), which take x from noise to data along a schedule.

x and every update are fp32. One loop serves all three samplers. At step k a sampler gets v at
t = times[k], optionally steadies it, moves x to the next time, and applies the corrections in
order. Source: the released ACE-Step 1.5 sampler; Heun's method is the explicit trapezoidal rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from headroom.diffusion.schedule import Schedule

Velocity: TypeAlias = Callable[[Tensor, int], Tensor]
"""v(x [B, T, C], index into schedule.times) -> [B, T, C], zero in the padding."""

Correction: TypeAlias = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(step k, x before it, v at its start, x after it) -> the x to go on with."""

OnStep: TypeAlias = Callable[[int], None]
"""Called with k before step k: progress, and cancelling by raising."""

_Move: TypeAlias = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(k, x, v) -> (x after the step, the velocity that was used)."""

_TINY = 1e-10  # added to norms, as in the reference


@dataclass(frozen=True, slots=True)
class Steady:
    """Two optional ways to stabilise a velocity: a bound on its norm, and smoothing; 0: off.

    norm_clamp τ: v ← v·min(1, τ‖x‖ / ‖v‖), with norms over (T, C) of each item.
    ema α: v ← (1 − α)·v + α·(the velocity of the previous step).
    """

    norm_clamp: float = 0.0
    ema: float = 0.0

    def __call__(self, v: Tensor, x: Tensor, before: Tensor | None) -> Tensor:
        if self.norm_clamp > 0:
            room = self.norm_clamp * (_norm(x) + _TINY) / (_norm(v) + _TINY)
            v = v * room.clamp(max=1.0)
        if self.ema > 0 and before is not None:
            v = (1 - self.ema) * v + self.ema * before
        return v


CALM = Steady()


def euler(
    velocity: Velocity,
    x: Tensor,
    schedule: Schedule,
    *,
    steady: Steady = CALM,
    correct: Sequence[Correction] = (),
    on_step: OnStep | None = None,
) -> Tensor:
    """x ← x − (t_k − t_{k+1})·v, one forward pass per step. x [B, T, C] -> [B, T, C]."""

    def move(k: int, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return x - (schedule.times[k] - schedule.times[k + 1]) * v, v

    return _run(move, velocity, x, schedule, steady, correct, on_step)


def heun(
    velocity: Velocity,
    x: Tensor,
    schedule: Schedule,
    *,
    look_ahead: Velocity | None = None,
    last_too: bool = True,
    steady: Steady = CALM,
    correct: Sequence[Correction] = (),
    on_step: OnStep | None = None,
) -> Tensor:
    """Euler to t_{k+1}, then the step again with the mean velocity of both ends.

    There are two forward passes per step. `look_ahead` gives the second velocity and is called with
    index k + 1 for step k (default: the same function); pass plain CFG if `velocity` is guided by
    APG, whose state advances once a step. `last_too=False` uses Euler for the last step, as the
    turbo variants do.
    """
    ahead = look_ahead or velocity

    def move(k: int, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        dt = schedule.times[k] - schedule.times[k + 1]
        guess = x - dt * v
        if k + 1 == schedule.steps and not last_too:
            return guess, v
        v = 0.5 * (v + steady(ahead(guess, k + 1).float(), guess, v))
        return x - dt * v, v

    return _run(move, velocity, x, schedule, steady, correct, on_step)


def sde(
    velocity: Velocity,
    x: Tensor,
    schedule: Schedule,
    *,
    fresh: Callable[[int], Tensor],
    levels: Sequence[float],
    steady: Steady = CALM,
    correct: Sequence[Correction] = (),
    on_step: OnStep | None = None,
) -> Tensor:
    """x̂ = x − t_k·v, then x ← t'·ε + (1 − t')·x̂ with t' = levels[k] and ε = fresh(k).

    `fresh(k)` is [B, T, C] on x's device, zero in the padding; it is not called if t' is 0.
    `levels` is `turbo_levels(schedule)` or `base_levels(schedule)`.
    """

    def move(k: int, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        clean = x - schedule.times[k] * v
        level = levels[k]
        return (clean if level == 0 else renoise(clean, fresh(k), level)), v

    return _run(move, velocity, x, schedule, steady, correct, on_step)


def turbo_levels(schedule: Schedule) -> tuple[float, ...]:
    """The noise level after each step: the next time of the schedule."""
    return schedule.times[1:]


def base_levels(schedule: Schedule) -> tuple[float, ...]:
    """The noise level after each SDE step of base and sft: 1 − (k + 1)/N, whatever the shift."""
    return tuple(1 - (k + 1) / schedule.steps for k in range(schedule.steps))


def renoise(clean: Tensor, noise: Tensor, level: float) -> Tensor:
    """x_t = t·noise + (1 − t)·clean."""
    return level * noise + (1 - level) * clean


def switched(first: Velocity, second: Velocity, step: int) -> Velocity:
    """`first` below index `step`, `second` from there on: implements cover strength.

    Heun's second forward pass belongs to step k but is called with index k + 1: for `look_ahead`,
    pass a switch at `step + 1`.
    """
    return lambda x, k: first(x, k) if k < step else second(x, k)


def _run(
    move: _Move,
    velocity: Velocity,
    x: Tensor,
    schedule: Schedule,
    steady: Steady,
    correct: Sequence[Correction],
    on_step: OnStep | None,
) -> Tensor:
    x = x.float()
    used: Tensor | None = None
    for k in range(schedule.steps):
        if on_step is not None:
            on_step(k)
        v = steady(velocity(x, k).float(), x, used)
        after, used = move(k, x, v)
        for correction in correct:
            after = correction(k, x, v, after)
        x = after
    return x


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
    return norm
