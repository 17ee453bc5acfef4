"""The machine as far as a plan must know it: numbers, frozen, no torch.

A simulated card is a Machine too. `probe.py` fills one in for the machine it runs on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from headroom.units import GIB, gib

Kind = Literal["cuda", "mps", "xpu", "cpu", "simulated"]
DType = Literal["float32", "bfloat16", "float16"]

CONTEXT = GIB // 2  # what a driver takes of a cap before the first tensor
LEAST_RESERVE = GIB // 4
RESERVE = 0.04


@dataclass(frozen=True, slots=True)
class Features:
    """What the device computes well. `isa` names the CPU's vector extensions that were found."""

    bfloat16: bool = False
    float16: bool = False
    fp8: bool = False
    flash: bool = False
    isa: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """A device and the host around it. Bytes, bytes per second; None where nobody measured.

    kind            of device; "cpu" means that the host computes
    total, free     memory of the device (of the host, where that computes)
    cap             a limit somebody set below `total`
    host_total, host_free  memory of the host
    cores           physical cores of the host
    copy_rate       host to device, pinned memory
    memory_rate     the device's own memory
    """

    name: str
    kind: Kind
    total: int
    free: int
    host_total: int
    host_free: int
    cores: int = 1
    cap: int | None = None
    copy_rate: float | None = None
    memory_rate: float | None = None
    features: Features = field(default_factory=Features)

    def __post_init__(self) -> None:
        for name in ("total", "free", "host_total", "host_free"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)} bytes")
        if self.cores < 1:
            raise ValueError(f"{self.cores} cores")

    @property
    def accelerated(self) -> bool:
        """Whether the device has memory of its own, apart from the host's."""
        return self.kind != "cpu"

    @property
    def limit(self) -> int:
        """The bytes this machine may use at all: the cap where there is one."""
        return self.total if self.cap is None else min(self.cap, self.total)

    @property
    def budget(self) -> int:
        """Bytes a plan may use: min(limit − 0.5 GiB, free) less a reserve of 0.25 GiB or 4 %.

        The half GiB is the driver's context, which an accelerator takes before the first tensor;
        a host has none. The one place where memory is held back.
        """
        taken = CONTEXT if self.accelerated else 0
        usable = min(self.limit - taken, self.free)
        return max(0, usable - max(LEAST_RESERVE, int(usable * RESERVE)))

    def describe(self) -> str:
        """One line for a person."""
        cap = "" if self.cap is None else f", capped at {gib(self.cap)}"
        return f"{self.name} ({self.kind}): {gib(self.free)} of {gib(self.total)} free{cap}"


def fast_dtype(machine: Machine) -> DType:
    """The narrowest type this machine is fast at and the networks are exact enough in.

    bfloat16 on every accelerator that has it; on a CPU only with AMX or AVX512-BF16 (with plain
    AVX512 a bfloat16 matrix product was measured at a quarter of the speed of float32).
    """
    return "bfloat16" if machine.features.bfloat16 else "float32"
