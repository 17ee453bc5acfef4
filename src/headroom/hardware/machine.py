"""The type `Machine`: the numbers about a device and its host that a plan depends on. No torch.

A simulated card is a Machine too. `probe.py` creates one for the machine on which it runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from headroom.units import GIB, gib

Kind = Literal["cuda", "mps", "xpu", "cpu", "simulated"]
DType = Literal["float32", "bfloat16", "float16"]

FEW_ROWS_ISA = frozenset({"avx2", "avx512_f"})  # where few rows are faster in bfloat16, see below
CONTEXT = GIB // 2  # what a driver takes from a cap before the first tensor
LEAST_RESERVE = GIB // 4
HOST_RATE = 2e11  # operations per second of a desktop processor, if not measured
HOST_MEMORY_RATE = 40e9  # bytes per second of its memory
RESERVE = 0.04


@dataclass(frozen=True, slots=True)
class Features:
    """The types and kernels a device is fast at. `isa` names the CPU's vector extensions."""

    bfloat16: bool = False
    float16: bool = False
    fp8: bool = False
    flash: bool = False
    isa: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """A device and its host, in bytes and bytes per second; None where not measured.

    kind            of device; "cpu" means that the host computes
    total, free     memory of the device (of the host, if the host computes)
    cap             a limit set below `total`
    host_total, host_free  memory of the host
    cores           physical cores of the host
    copy_rate       host to device, pinned memory
    memory_rate     the device's own memory
    matrix_rate     operations per second of a matrix product, in the device's fast type
    host_rate       the same for the host; host_memory_rate: bytes per second of its memory
    libraries       bytes that libraries use on the device besides live tensors, as measured
    stands_for      if the host computes: bytes of the card named in the settings, whose tier is
                    used whatever the host's memory; None: the settings name no card
    beside          further cards of a group, on which parts of the same work may run; this is its
                    first card
    holds           names of the components that belong on this card of a group by an earlier plan;
                    they stay where another card is no better
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
    beside: tuple[Machine, ...] = ()
    holds: tuple[str, ...] = ()

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
    def cards(self) -> tuple[Machine, ...]:
        """Each card of the group as a machine of its own; only itself where there is no group."""
        return (replace(self, beside=()), *self.beside) if self.beside else (self,)

    @property
    def limit(self) -> int:
        """The most bytes this machine may use: the cap if there is one, else all its memory."""
        return self.total if self.cap is None else min(self.cap, self.total)

    @property
    def card_bytes(self) -> int | None:
        """The size that determines the tier, of a group that of its largest card; None: there is
        no card, and the settings name none."""
        return max(c.limit for c in self.cards) if self.accelerated else self.stands_for

    @property
    def budget(self) -> int:
        """Bytes a plan may use: min(limit − 0.5 GiB, free) minus a reserve of 0.25 GiB or 4 %.

        The half GiB is the driver's context, which an accelerator allocates before the first
        tensor; a host has none. Memory is held back only here.
        """
        context = CONTEXT if self.accelerated else 0
        usable = min(self.limit - context, self.free)
        return max(0, usable - max(LEAST_RESERVE, int(usable * RESERVE)))

    def describe(self) -> str:
        """A summary for display: a line, of a group one for each card."""
        if self.beside:
            each = enumerate(card.describe() for card in self.cards)
            return "\n".join(f"card {number}: {line}" for number, line in each)
        cap = "" if self.cap is None else f", capped at {gib(self.cap)}"
        return f"{self.name} ({self.kind}): {gib(self.free)} of {gib(self.total)} free{cap}"


# Rates assumed for cards of a size that were not measured: (GiB, operations per second, bytes per
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
    """A hypothetical card of a given size, all of it free, with the rates assumed for that size.

    `host` gives the host memory; without it, twice the card's memory and at least 16 GiB.
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


def group(cards: Sequence[Machine]) -> Machine:
    """The cards as one group, or the only one as it is. There must be one."""
    first, *others = cards
    return replace(first, beside=tuple(others)) if others else first


def with_reserve(size: int) -> int:
    """The bytes that a plan of this peak keeps others from taking: what is held back included.

    It is at most what the budget of such a plan was made from.
    """
    return size + max(LEAST_RESERVE, int(size * RESERVE))


def fast_dtype(machine: Machine) -> DType:
    """The narrowest type that is fast on this machine and accurate enough for the networks.

    bfloat16 on every accelerator that supports it; on a CPU only with AMX or AVX512-BF16 (with
    plain AVX512, a bfloat16 matrix product was measured at a quarter of the speed of float32).
    """
    return "bfloat16" if machine.features.bfloat16 else "float32"


def computing_dtype(asked: DType | None, machine: Machine) -> DType:
    """The type that networks compute in: the one asked for, else the fast one of this machine.

    Plans and engines both take it from here.
    """
    return asked or fast_dtype(machine)


def writing_dtype(asked: DType | None, machine: Machine) -> DType:
    """The type that language models compute in, a token of every song at a time.

    A product of so few rows takes as long as its weights take to be read, so that bfloat16, which
    is half of float32, is faster even on processors that have no products in it: two rows with
    [3072, 1024] took 0.29 of the time with AVX2 alone. Of many rows, such as a prompt, it takes
    longer, but a song has far more tokens than its prompt. Plans and engines both take the type
    from here; it depends on the processor alone, so a seed keeps its codes.
    """
    fast = computing_dtype(asked, machine)
    hosts_few = machine.kind == "cpu" and bool(FEW_ROWS_ISA & frozenset(machine.features.isa))
    return "bfloat16" if asked is None and hosts_few else fast
