"""The sampler again, in fp64 NumPy, written from the rules and sharing nothing with the product.

`model(x, t, conditioned, second) -> v` over one song, x [T, C]. Times include the end point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pywt

Array = npt.NDArray[np.float64]
Model = Callable[[Array, float, bool, bool], Array]


@dataclass
class Case:
    times: list[float]
    scale: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    method: str = "euler"
    heun_last: bool = True
    switch: int = 10**9
    levels: list[float] = field(default_factory=list)
    fresh: list[Array] = field(default_factory=list)
    source: Array | None = None
    region: tuple[int, int] = (0, 0)
    inject_steps: int = 0
    ramp: int = 0
    dcw: tuple[str, float, float, str] | None = None  # mode, scales, wavelet


def run(model: Model, noise: Array, case: Case) -> Array:
    x, r = noise.copy(), np.zeros_like(noise)
    steps = len(case.times) - 1
    for k in range(steps):
        t, t_next, second = case.times[k], case.times[k + 1], k >= case.switch
        v = model(x, t, True, second)
        if case.scale > 1 and case.interval[0] <= t <= case.interval[1]:
            v, r = apg(v, model(x, t, False, second), r, case.scale)
        after, before, first = t_next, x, v
        if case.method == "sde":
            after = case.levels[k]
            x = after * case.fresh[k] + (1 - after) * (x - t * v)
        elif case.method == "heun" and (case.heun_last or k < steps - 1):
            x2 = x - (t - t_next) * v
            v2 = model(x2, t_next, True, second)
            if case.scale > 1 and case.interval[0] <= t_next <= case.interval[1]:
                null = model(x2, t_next, False, second)
                v2 = null + case.scale * (v2 - null)
            x = x - (t - t_next) * (v + v2) / 2
        else:
            x = x - (t - t_next) * v
        if case.dcw is not None:
            x = dcw(x, before - t * first, t, *case.dcw)
        if case.source is not None and k < case.inject_steps:
            for frame in range(len(x)):
                if not case.region[0] <= frame < case.region[1]:
                    x[frame] = after * noise[frame] + (1 - after) * case.source[frame]
    if case.source is not None and case.ramp:
        for frame in range(len(x)):
            away = max(case.region[0] - frame, frame - case.region[1] + 1, 0)
            m = max(0.0, 1 - away / (case.ramp + 1))
            x[frame] = m * x[frame] + (1 - m) * case.source[frame]
    return x


def dcw(x: Array, clean: Array, t: float, mode: str, low: float, high: float, name: str) -> Array:
    if mode == "pix":
        return x + low * (x - clean)
    bands = [pywt.dwt(one, name, "zero", axis=0) for one in (x, clean)]
    gains = {"low": (t * low, 0), "high": (0, (1 - t) * low), "double": (t * low, (1 - t) * high)}
    pushed = [a + g * (a - b) for a, b, g in zip(*bands, gains[mode], strict=True)]
    return np.asarray(pywt.idwt(*pushed, name, "zero", axis=0))[: len(x)]


def apg(v_c: Array, v_n: Array, r: Array, scale: float) -> tuple[Array, Array]:
    r = v_c - v_n - 0.75 * r
    out = v_c.copy()
    for c in range(v_c.shape[1]):
        d = r[:, c] * min(1.0, 2.5 / np.linalg.norm(r[:, c]))
        out[:, c] += (scale - 1) * (d - d @ v_c[:, c] / (v_c[:, c] @ v_c[:, c]) * v_c[:, c])
    return out, r


def adg(
    v_c: Array, v_n: Array, x: Array, t: float, scale: float, clip: float | None, keep: bool
) -> Array:
    clean = np.empty_like(x)
    for i in range(len(x)):
        a, b = x[i] - t * v_c[i], x[i] - t * v_n[i]
        cos = a @ b / np.sqrt((a @ a) * (b @ b))
        theta = np.arccos(min(max(cos, -1 + 1e-6), 1 - 1e-6))
        weight = max(scale - 1, 0) + 1e-3
        new = weight * theta if clip is None else min(max(weight * theta, -clip), clip)
        across = (a - b) - (a - b) @ b / (b @ b) * b
        clean[i] = np.cos(new) * a + across * np.sin(new) / np.sin(theta)
    if keep:
        estimate = x - t * v_c
        clean *= np.linalg.norm(estimate, axis=0) / np.linalg.norm(clean, axis=0)
    return (x - clean) / t
