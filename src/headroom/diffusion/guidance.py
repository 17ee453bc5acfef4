"""Guidance rules (CFG, APG, ADG), which combine conditional and unconditional velocities.

Every rule keeps zero padding zero and treats each item of a batch independently. Sources: CFG, Ho &
Salimans 2022 (arXiv:2207.12598); APG, Sadat et al. 2024 (arXiv:2410.02416), with the constants of
ACE-Step 1.5; ADG, the angle rule on clean estimates of the released ACE-Step 1.5 sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from headroom.diffusion.samplers import Velocity
from headroom.diffusion.schedule import Schedule
from headroom.errors import InvalidRequest

VelocityPair: TypeAlias = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""(x, index into schedule.times) -> (v with the condition, v without), each [B, T, C]."""

_TINY = 1e-12


class GuidanceRule(Protocol):
    """(v_c, v_n, x [B, T, C], t, scale > 1) -> v. It may hold the state of one run of one batch."""

    def __call__(self, v_c: Tensor, v_n: Tensor, x: Tensor, t: float, scale: float) -> Tensor: ...


class GuidanceName(StrEnum):
    """The rules by name."""

    APG = "apg"
    ADG = "adg"
    ADG_W_NORM = "adg_w_norm"
    ADG_WO_CLIP = "adg_wo_clip"
    CFG = "cfg"


def guide(
    pair: VelocityPair,
    single: Velocity,
    rule: GuidanceRule,
    scale: float,
    schedule: Schedule,
    flags: Sequence[bool],
) -> Velocity:
    """The guided velocity. If `flags[k]` is false, or scale <= 1, only `single` is called.

    `flags` is `schedule.guided(…)`. Skipping the unconditional half does not change the result: the
    rule would not be applied there, and its state would not change.
    """
    if scale <= 1:
        return single

    def velocity(x: Tensor, k: int) -> Tensor:
        if not flags[k]:
            return single(x, k)
        v_c, v_n = pair(x, k)
        return rule(v_c.float(), v_n.float(), x, schedule.times[k], scale)

    return velocity


def guidance_rule(name: str, like: Tensor) -> GuidanceRule:
    """A rule with fresh state for one run, over latents with the shape and device of `like`."""
    match name:
        case GuidanceName.APG:
            return Apg(torch.zeros_like(like, dtype=torch.float32))
        case GuidanceName.ADG:
            return Adg()
        case GuidanceName.ADG_W_NORM:
            return Adg(clip=3.14 / 3, keep_norm=True)
        case GuidanceName.ADG_WO_CLIP:
            return Adg(clip=None)
        case GuidanceName.CFG:
            return Cfg()
    raise InvalidRequest("guidance_variant", name, ", ".join(GuidanceName))


def look_ahead_rule(rule: GuidanceRule) -> GuidanceRule:
    """The rule for Heun's second forward pass: plain CFG for APG, whose state moves once a step."""
    return Cfg() if isinstance(rule, Apg) else rule


@dataclass(frozen=True, slots=True)
class Cfg:
    """v = v_n + g·(v_c − v_n)."""

    def __call__(self, v_c: Tensor, v_n: Tensor, x: Tensor, t: float, scale: float) -> Tensor:
        return v_n + scale * (v_c - v_n)


@dataclass(slots=True, eq=False)
class Apg:
    """Adaptive projected guidance: projection orthogonal to v_c, bounded norm, and momentum.

    r ← (v_c − v_n) + momentum·r;  d = r·min(1, threshold/‖r‖);  v = v_c + (g − 1)·(d⊥ + eta·d∥),
    with norms and projection per channel over time. `running` is r, fp32 [B, T, C], zero at the
    start of a run and updated in place (captured graphs need its address to stay the same).
    """

    running: Tensor
    momentum: float = -0.75
    threshold: float = 2.5
    eta: float = 0.0

    def __call__(self, v_c: Tensor, v_n: Tensor, x: Tensor, t: float, scale: float) -> Tensor:
        self.running.mul_(self.momentum).add_(v_c - v_n)
        size = torch.linalg.vector_norm(self.running, dim=1, keepdim=True)
        d = self.running * (self.threshold / size.clamp_min(_TINY)).clamp(max=1.0)
        across = _orthogonal(d, v_c)
        if self.eta:
            across = across + self.eta * (d - across)
        return v_c + (scale - 1) * across

    def reset(self) -> None:
        """Clear the state for another run of the same shape."""
        self.running.zero_()


@dataclass(frozen=True, slots=True)
class Adg:
    """Angle-based guidance on clean estimates x̂ = x − t·v, frame by frame over the channels.

    θ is the angle between x̂_c and x̂_n, w = g − 1 + 0.001, θ' = w·θ held within ±clip, and
    x̂ = cos θ'·x̂_c + (sin θ'/sin θ)·(the part of x̂_c − x̂_n orthogonal to x̂_n); v = (x − x̂)/t.
    `keep_norm` gives x̂ the norm of x̂_c, per channel over time. `edge` keeps cos θ away from ±1.
    At t = 0, where x̂ does not determine a velocity, the rule is plain CFG.
    """

    clip: float | None = 3.14 / 6
    keep_norm: bool = False
    edge: float = 1e-6
    plain: Cfg = field(default_factory=Cfg)

    def __call__(self, v_c: Tensor, v_n: Tensor, x: Tensor, t: float, scale: float) -> Tensor:
        if t <= 0:
            return self.plain(v_c, v_n, x, t, scale)
        wide = _wide(x)
        start = x.to(wide)
        clean_c, clean_n = start - t * v_c.to(wide), start - t * v_n.to(wide)
        clean = self._turned(clean_c, clean_n, max(scale - 1, 0.0) + 1e-3)
        if self.keep_norm:
            sizes = (torch.linalg.vector_norm(c, dim=1, keepdim=True) for c in (clean_c, clean))
            want, have = sizes
            clean = clean * (want / have.clamp_min(_TINY))
        return ((start - clean) / t).to(v_c.dtype)

    def _turned(self, clean_c: Tensor, clean_n: Tensor, weight: float) -> Tensor:
        unit_c, unit_n = _unit(clean_c, -1), _unit(clean_n, -1)
        cos = (unit_c * unit_n).sum(-1, keepdim=True)
        theta = cos.clamp(-1 + self.edge, 1 - self.edge).acos()
        turned = theta * weight
        if self.clip is not None:
            turned = turned.clamp(-self.clip, self.clip)
        sin = theta.sin()
        # Where x̂_c and x̂_n are parallel, sin θ'/sin θ is replaced by its limit, w.
        stretch = torch.where(sin > 1e-3, turned.sin() / sin.clamp_min(1e-3), weight)
        apart = clean_c - clean_n
        across = apart - (apart * unit_n).sum(-1, keepdim=True) * unit_n
        return turned.cos() * clean_c + stretch * across


def _orthogonal(d: Tensor, along: Tensor) -> Tensor:
    """d without its component along `along`, per channel over time; fp32 in and out."""
    wide = _wide(d)
    unit, rest = _unit(along.to(wide), 1), d.to(wide)
    # Without fp64, a second pass removes what rounding left over from the first.
    for _ in range(1 if wide is torch.float64 else 2):
        rest = rest - (rest * unit).sum(1, keepdim=True) * unit
    return rest.to(d.dtype)


def _unit(x: Tensor, dim: int) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / size.clamp_min(_TINY)


def _wide(x: Tensor) -> torch.dtype:
    """fp64 if the device supports it (Apple's GPUs do not)."""
    return torch.float32 if x.device.type == "mps" else torch.float64
