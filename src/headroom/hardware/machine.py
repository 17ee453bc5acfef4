"""The machine as far as a plan must know it: numbers, frozen, no torch.

A simulated card is a Machine too. `probe.py` fills one in for the machine it runs on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from headroom.units import GIB, gib

Kind = Literal["cuda", "mps", "xpu", "cpu", "simulated"]
DType = Literal["float32", "bfloat16", "float16"]

CONTEXT = GIB // 2  # what a driver takes of a cap before the first tensor
LEAST_RESERVE = GIB // 4
HOST_RATE = 2e11  # operations a second of a desktop processor, where nobody measured
HOST_MEMORY_RATE = 40e9  # bytes a second of its memory
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
    matrix_rate     operations a second of a matrix product, in the type the device is fast at
    host_rate       the same of the host; host_memory_rate: bytes a second of its memory
    libraries       bytes that libraries take on the device beside live tensors, as measured
    stands_for      where the host computes: bytes of the card that the settings name, whose tier
                    holds though nothing here is as large or as small; None: they name none
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
    matrix_rate: float | None = None
    host_rate: float | None = None
    host_memory_rate: float | None = None
    libraries: int = 0
    stands_for: int | None = None
    features: Features = field(default_factory=Features)

    def __post_init__(self) -> None:
        for name in ("total", "free", "host_total", "host_free", "libraries"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)} bytes")
        if self.cores < 1:
            raise ValueError(f"{self.cores} cores")
        rates = "copy_rate", "memory_rate", "matrix_rate", "host_rate", "host_memory_rate"
        for name in rates:
            rate = getattr(self, name)
            if rate is not None and rate <= 0:
                raise ValueError(f"{name} is {rate}")

    @property
    def accelerated(self) -> bool:
        """Whether the device has memory of its own, apart from the host's."""
        return self.kind != "cpu"

    @property
    def limit(self) -> int:
        """The bytes this machine may use at all: the cap where there is one."""
        return self.total if self.cap is None else min(self.cap, self.total)

    @property
    def card_bytes(self) -> int | None:
        """The size by which a tier is found; None: there is no card, and no setting names one."""
        return self.limit if self.accelerated else self.stands_for

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


# What cards of a size are taken for where nobody measured: (GiB, operations a second, bytes a
# second of their memory, host to device). They decide which plan is preferred, never what fits.
ASSUMED: tuple[tuple[float, float, float, float], ...] = (
    (4, 8e12, 160e9, 6e9),
    (8, 20e12, 270e9, 12e9),
    (12, 30e12, 360e9, 12e9),
    (16, 50e12, 500e9, 24e9),
    (24, 90e12, 900e9, 24e9),
    (math.inf, 200e12, 2000e9, 50e9),
)


def card(gibibytes: float, host: Machine | None = None) -> Machine:
    """A card of that size that nobody has here, all of it free, with the rates such cards have.

    `host` gives the memory around it; left open, twice the card's and at least 16 GiB.
    """
    size = round(gibibytes * GIB)
    _, matrix, memory, copy = next(row for row in ASSUMED if gibibytes <= row[0])
    around = max(16 * GIB, 2 * size)
    return Machine(
        name=f"a card of {gibibytes:g} GiB",
        kind="simulated",
        total=size,
        free=size,
        host_total=around if host is None else host.host_total,
        host_free=around if host is None else host.host_free,
        cores=1 if host is None else host.cores,
        copy_rate=copy,
        memory_rate=memory,
        matrix_rate=matrix,
        host_rate=HOST_RATE,
        host_memory_rate=HOST_MEMORY_RATE,
        features=Features(bfloat16=True, float16=True, flash=True),
    )


def fast_dtype(machine: Machine) -> DType:
    """The narrowest type this machine is fast at and the networks are exact enough in.

    bfloat16 on every accelerator that has it; on a CPU only with AMX or AVX512-BF16 (with plain
    AVX512 a bfloat16 matrix product was measured at a quarter of the speed of float32).
    """
    return "bfloat16" if machine.features.bfloat16 else "float32"
