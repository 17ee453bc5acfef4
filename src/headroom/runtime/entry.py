"""A part that is loaded: where it is, how much of it is on the device, and who leases it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from torch import Tensor

from headroom.memory.plan import Placement, Residency
from headroom.runtime.prepare import Slot
from headroom.runtime.streaming import Ring


class State(Enum):
    """Where a part is; the value is the text shown to users."""

    ABSENT = "not loaded"
    HOST = "in host memory"
    DEVICE = "on the device"
    PASSING = "passes through the device"


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """One lease of a part. `owner` is the object that `Pool.end` is called with."""

    placement: Placement
    owner: object


@dataclass(slots=True)
class Entry:
    """A loaded part. `kept` and `ring` say how much of it is on the device, if any."""

    part: object
    places: tuple[Slot, ...]
    precision: str | None  # None: as released
    memory: Tensor | None = None
    state: State = State.HOST
    settled: bool = True  # False: a move is under way or was interrupted
    kept: int = 0
    ring: Ring | None = None
    leases: list[Lease] = field(default_factory=list)
    used: float = 0.0
    leaving: bool = False  # asked to leave while leased
    forgotten: bool = False  # asked to be released while leased

    @property
    def is_there(self) -> bool:
        """Whether any of it is, or may be, on the device."""
        return self.state is not State.HOST or not self.settled

    def is_as(self, placement: Placement) -> bool:
        """Whether it is where a placement puts it."""
        if not self.settled:
            return False
        if placement.residency is Residency.HOST:
            return self.state is State.HOST
        if placement.residency is Residency.STREAMED:
            return self.state is State.PASSING and self.kept == placement.kept
        return self.state is State.DEVICE
