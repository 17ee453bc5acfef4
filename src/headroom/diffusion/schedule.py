"""Sampling schedules: the noise levels t of a run, from 1 (noise) down to 0 (data).

They are Python floats, without torch. Flow matching: x_t = t·noise + (1 − t)·data, and the network
predicts v = noise − data.
Source: ACE-Step 1.5 (arXiv:2602.00744) and its released sampler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from headroom.errors import InvalidRequest

# The three schedules ACE-Step 1.5 turbo was distilled on, by shift; the end point 0 is implied.
TURBO_TABLES: dict[float, tuple[float, ...]] = {
    1.0: (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125),
    2.0: (1.0, 14 / 15, 6 / 7, 10 / 13, 2 / 3, 6 / 11, 0.4, 2 / 9),
    3.0: (1.0, 21 / 22, 0.9, 5 / 6, 0.75, 9 / 14, 0.5, 0.3),
}
TURBO_TIMES: tuple[float, ...] = tuple(sorted({t for row in TURBO_TABLES.values() for t in row}))
TURBO_CUSTOM_MOST = 20
_TOLERANCE = 1e-9  # for comparisons with t: 0.1 + 0.2 counts as 0.3


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times t_0 >= … >= t_N, the end point included (0.0 in an ordinary schedule).

    Step k goes from `times[k]` to `times[k + 1]`. Raises InvalidRequest for fewer than two times, a
    time outside [0, 1], a time that rises, or a step that starts at 0.
    """

    times: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_times(self.times, "a falling list of at least two times from 1 down to 0")
        if len(self.times) < 2 or self.times[-2] <= 0:
            raise InvalidRequest("timesteps", self.times, "at least one time above 0, then the end")

    @property
    def steps(self) -> int:
        """N, the number of steps."""
        return len(self.times) - 1


class CustomTimes(Enum):
    """How a model variant interprets a list of times given by the user."""

    SNAP = "snap"  # turbo: each snaps to the nearest published time; 0 is appended
    FREE = "free"  # turbo-continuous: as given; 0 is appended
    GIVEN = "given"  # base and sft: as given; the last one is the end point


def linear(steps: int, shift: float) -> Schedule:
    """Evenly spaced u_k = 1 − k/N, bent by `shift`: t = s·u / (1 + (s − 1)·u); ends at 0."""
    _check_steps(steps, shift)
    return Schedule((*(_bend(1 - k / steps, shift) for k in range(steps)), 0.0))


def turbo(steps: int, shift: float) -> Schedule:
    """The published table for 8 steps and shift 1, 2 or 3; the formula of `linear` otherwise.

    The reference always uses a table; here the requested steps and shift are respected.
    """
    _check_steps(steps, shift)
    if steps == 8 and shift in TURBO_TABLES:
        return Schedule((*TURBO_TABLES[shift], 0.0))
    return linear(steps, shift)


def custom(timesteps: Sequence[float], rule: CustomTimes) -> Schedule:
    """A schedule from a list of times given by the user. Raises InvalidRequest if it is invalid.

    For SNAP and FREE, trailing zeros are dropped, 1 to 20 values must remain, and 0 is appended.
    Two values that snap to the same time remain two steps, as in the reference.
    """
    times = tuple(timesteps)
    _check_times(times, "numbers from 1 down to 0, none above the one before it")
    if rule is CustomTimes.GIVEN:
        return Schedule(tuple(float(t) for t in times))
    while times and times[-1] == 0:
        times = times[:-1]
    if not 1 <= len(times) <= TURBO_CUSTOM_MOST:
        allowed = f"1 to {TURBO_CUSTOM_MOST} times above 0, not {len(times)}"
        raise InvalidRequest("timesteps", tuple(timesteps), allowed)
    if rule is CustomTimes.SNAP:
        times = tuple(_nearest(t) for t in times)
    return Schedule((*(float(t) for t in times), 0.0))


def truncate(schedule: Schedule, cover_noise_strength: float) -> Schedule:
    """The rest of the schedule for a run that starts from a noised source instead of pure noise.

    Strength n > 0 starts at the time nearest to 1 − n (never at the end point; a tie goes to the
    earlier step), with x = t_0·noise + (1 − t_0)·source. n = 0 changes nothing.
    """
    _check_fraction("cover_noise_strength", cover_noise_strength)
    if cover_noise_strength == 0:
        return schedule
    level = 1 - cover_noise_strength
    start = min(range(schedule.steps), key=lambda k: abs(schedule.times[k] - level))
    return Schedule(schedule.times[start:])


def cover_switch(schedule: Schedule, strength: float) -> int:
    """The first step K = int(N·a) that uses the second condition; K = N means that none does.

    Pass the truncated schedule: K counts the steps that are actually run.
    """
    _check_fraction("audio_cover_strength", strength)
    return int(schedule.steps * strength)


def guided_times(schedule: Schedule, start: float, end: float) -> tuple[bool, ...]:
    """Whether guidance applies at each of the N + 1 times: start <= t <= end, in terms of t.

    t runs from 1 to 0, so [0, 0.5] is the *second* half of a run. The flag of the end point is for
    samplers that look ahead (Heun). Raises InvalidRequest unless 0 <= start <= end <= 1.
    """
    _check_fraction("cfg_interval_start", start)
    _check_fraction("cfg_interval_end", end)
    if start > end:
        raise InvalidRequest("cfg_interval_start", start, f"at most cfg_interval_end ({end})")
    return tuple(start - _TOLERANCE <= t <= end + _TOLERANCE for t in schedule.times)


def _bend(u: float, shift: float) -> float:
    # The denominator 1 + (s − 1)·u, written so that u = 1 gives exactly 1 for every shift.
    return shift * u / (1 - u + shift * u)


def _nearest(t: float) -> float:
    return min(reversed(TURBO_TIMES), key=lambda time: abs(time - t))


def _check_steps(steps: int, shift: float) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InvalidRequest("inference_steps", steps, "a whole number, at least 1")
    if not math.isfinite(shift) or shift <= 0:
        raise InvalidRequest("shift", shift, "a finite number above 0")


def _check_fraction(field: str, value: float) -> None:
    if not 0 <= value <= 1:  # also refuses NaN
        raise InvalidRequest(field, value, "a number from 0 to 1")


def _check_times(times: Sequence[float], allowed: str) -> None:
    falling = all(a >= b for a, b in pairwise(times))
    if not times or not falling or not all(0 <= t <= 1 for t in times):
        raise InvalidRequest("timesteps", tuple(times), allowed)
