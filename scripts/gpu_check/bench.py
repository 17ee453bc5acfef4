"""What every section is given: device, fast type, sizes, the measured rates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor, nn

from gpu_check.sizes import Sizes
from headroom.device import Device

Row = dict[str, object]
M = TypeVar("M", bound=nn.Module)
STD = 0.02  # of random biases and other vectors
# What a convolution's weights are scaled by. With 1 the residual units of the codec double the
# signal until Snake takes the sine of hundreds (a standard deviation of 280 was measured), where
# bf16 has no digit left; with these it stays near 1, and both checks see the whole network.
CONVOLUTIONS = {"Decoder": 0.5, "Encoder": 0.7}


@dataclass(slots=True)
class Bench:
    """`rates` is filled by the first section: FLOP/s by type name, and bytes/s under `copy`."""

    device: Device
    sizes: Sizes
    ends: float
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def where(self) -> torch.device:
        return self.device.torch

    @property
    def fast(self) -> torch.dtype:
        """bfloat16 where the device is quick at it."""
        quick = "bfloat16" in self.device.features() and self.where.type != "cpu"
        return torch.bfloat16 if quick else torch.float32

    def seconds(self, work: Callable[[], object], repeats: int = 5, most: float = 2.0) -> float:
        """Median time of one call, several calls a measurement where they are short."""
        work()
        self.device.synchronize()
        once = self._timed(work, 1)
        inner = max(1, min(20, int(0.02 / max(once, 1e-9))))
        repeats = max(1, min(repeats, int(most / max(once * inner, 1e-9))))
        return median(self._timed(work, inner) for _ in range(repeats))

    def _timed(self, work: Callable[[], object], inner: int) -> float:
        began = time.perf_counter()
        for _ in range(inner):
            work()
        self.device.synchronize()
        return (time.perf_counter() - began) / inner

    def once(self, work: Callable[[], object]) -> float:
        """Seconds of the first call."""
        return self._timed(work, 1)

    def floor(self, operations: float, moved: float) -> float:
        """The least seconds the operations and the bytes can take at the measured rates."""
        rate = self.rates[str(self.fast).removeprefix("torch.")]
        return max(operations / rate, moved / self.rates["copy"])

    def left(self) -> float:
        """Seconds until the whole check should be over."""
        return self.ends - time.monotonic()


def timing(seconds: float, floor: float) -> Row:
    """A measured time beside its floor."""
    return {"seconds": seconds, "floor_seconds": floor, "ratio": seconds / floor}


def drawn(build: Callable[[], M], where: torch.device, dtype: torch.dtype, seed: int = 1) -> M:
    """A module with random weights, made on the device itself: norms near 1, matrices small."""
    with torch.device("meta"):
        module = build()
    module = module.to(dtype).to_empty(device=where).requires_grad_(False).eval()
    generator = torch.Generator(where).manual_seed(seed)
    scale = CONVOLUTIONS.get(type(module).__name__, 1.0)
    for name, parameter in module.named_parameters():
        leaf = name.rpartition(".")[2]
        if leaf in ("rate", "gain") or (leaf == "weight" and parameter.dim() == 1):
            parameter.uniform_(0.8, 1.2, generator=generator)
        else:
            std = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else STD
            parameter.normal_(0, scale * std, generator=generator)
    return module


def normal(*shape: int, seed: int = 0) -> Tensor:
    """fp32 numbers on the host, the same for a seed on every machine."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def distance(ours: Tensor, reference: Tensor) -> float:
    """‖ours − reference‖ / ‖reference‖ in fp64 on the host; NaN where ours is not finite."""
    a, b = ours.detach().cpu().double(), reference.detach().cpu().double()
    return float((a - b).norm() / b.norm().clamp_min(1e-30))


def near(name: str, ours: Tensor, reference: Tensor, allowed: float, **more: object) -> Row:
    """A check: `ok` is false for NaN too."""
    gap = distance(ours, reference)
    return {"check": name, "distance": gap, "allowed": allowed, "ok": gap <= allowed, **more}
