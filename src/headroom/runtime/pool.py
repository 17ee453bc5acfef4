"""The parts of a model between runs: on the device, in host memory, or not there yet.

Weights never change. A part that leaves the device drops its copy there and takes up its host
tensors again; nothing is copied back. What is leased never moves; what is asked to leave while it
is leased leaves when it is given back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, TypeVar

from torch import Tensor, nn

from headroom.device import Device
from headroom.memory.plan import SLOTS, Placement, Residency
from headroom.runtime.ledger import Ledger
from headroom.runtime.pinned import pin
from headroom.runtime.prepare import (
    Cell,
    Slot,
    cells,
    enter,
    leave,
    matrices,
    piece,
    slots,
    streamed_blocks,
    twins,
)
from headroom.runtime.quantize import converted, quantize
from headroom.runtime.streaming import Ring

T = TypeVar("T")
Loaders: TypeAlias = Mapping[str, Callable[[], object]]
Clock: TypeAlias = Callable[[], float]


class State(Enum):
    """Where a part is; the value is what people are shown."""

    ABSENT = "not loaded"
    HOST = "in host memory"
    DEVICE = "on the device"
    PASSING = "passes through the device"


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part: where it is, what it takes there, who uses it, how long nobody has."""

    name: str
    state: State
    device_bytes: int
    leases: int
    idle_seconds: float | None


class Parts(Mapping[str, object]):
    """The parts a stage leased, by component name."""

    def __init__(self, parts: Mapping[str, object]) -> None:
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> object:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def of(self, name: str, kind: type[T]) -> T:
        """A part as what it is. KeyError: it was not leased; TypeError: it is something else."""
        part = self._parts[name]
        if not isinstance(part, kind):
            raise TypeError(f"part {name!r} is a {type(part).__name__}, not a {kind.__name__}")
        return part


@dataclass(slots=True)
class _Entry:
    """A part that is loaded. `kept` and `ring` say how much of it is on the device, if any."""

    part: object
    places: tuple[Slot, ...]
    precision: str | None  # None: as released
    cells: tuple[Cell, ...] = ()
    twins: tuple[tuple[Slot, Slot], ...] = ()
    memory: Tensor | None = None
    state: State = State.HOST
    kept: int = 0
    ring: Ring | None = None
    leases: int = 0
    used: float = 0.0
    leaving: bool = False  # asked to leave while leased
    forgotten: bool = False  # asked to be released while leased


class Pool:
    """Loads each part when it is first leased, and keeps it in host memory until `release`.

    Safe under threads: one thread at a time moves parts, and `status` waits for nobody. `clock` is
    that of `expire`.
    """

    def __init__(self, device: Device, loaders: Loaders, clock: Clock = time.monotonic) -> None:
        self._device, self._loaders, self._clock = device, loaders, clock
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.RLock()
        self.ledger = Ledger(device)

    @property
    def floor(self) -> int:
        """What the device held before the first part, in bytes."""
        return self.ledger.floor

    @property
    def loaded(self) -> frozenset[str]:
        """The parts that are in memory at all."""
        return frozenset(self._entries)

    @property
    def on_device(self) -> frozenset[str]:
        """The parts whose weights are on the accelerator now, whole or passing through."""
        here = (State.DEVICE, State.PASSING)
        return frozenset(n for n, e in list(self._entries.items()) if e.state in here)

    def status(self) -> tuple[PartStatus, ...]:
        """Every part the model has, as it is now."""
        now = self._clock()
        found = []
        for name in self._loaders:
            entry = self._entries.get(name)
            if entry is None:
                found.append(PartStatus(name, State.ABSENT, 0, 0, None))
                continue
            idle = None if entry.leases else max(0.0, now - entry.used)
            size = self.ledger.bytes(name)
            found.append(PartStatus(name, entry.state, size, entry.leases, idle))
        return tuple(found)

    # --- leases ----------------------------------------------------------------------------

    def lease(self, placements: Iterable[Placement]) -> Parts:
        """The parts, each where its placement wants it. On failure none is left behind.

        A part that passes through is worked with in the inference mode it was leased in, by one
        thread at a time.
        """
        wanted = tuple(placements)
        with self._lock, ExitStack() as undo:
            for placement in wanted:
                self._bring(placement)
                undo.callback(self.give_back, (placement,))
            undo.pop_all()
            return Parts({p.component: self._entries[p.component].part for p in wanted})

    def give_back(self, placements: Iterable[Placement]) -> None:
        """End the leases. What is not resident leaves the device once nobody leases it.

        Its memory goes back at once: a piece so large would be split for smaller tensors, and then
        be missing as a whole.
        """
        left = False
        with self._lock:
            for placement in placements:
                entry = self._entries.get(placement.component)
                if entry is None or not entry.leases:
                    continue
                entry.leases -= 1
                entry.used = self._clock()
                if entry.leases:
                    continue
                if placement.residency is not Residency.RESIDENT or entry.leaving:
                    left = left or entry.memory is not None
                    self._leave(placement.component, entry)
                if entry.forgotten:
                    del self._entries[placement.component]
            if left:
                self._device.release()

    def make_room(self, residents: Iterable[str]) -> None:
        """Take everything off the device that is neither among these nor leased."""
        stay = set(residents)
        with self._lock:
            going = [
                (name, entry)
                for name, entry in self._entries.items()
                if name not in stay and not entry.leases and entry.memory is not None
            ]
            for name, entry in going:
                self._leave(name, entry)
            if going:
                self._device.release()

    def offload(self, name: str | None = None) -> None:
        """Take a part, or all of them, off the device; what is leased leaves when given back."""
        with self._lock:
            for each in self._named(name):
                entry = self._entries[each]
                if entry.leases:
                    entry.leaving = True
                else:
                    self._leave(each, entry)
            self._device.release()

    def release(self, name: str | None = None) -> None:
        """Forget a part, or all of them: nothing stays on the device or in host memory."""
        with self._lock:
            for each in self._named(name):
                entry = self._entries[each]
                if entry.leases:
                    entry.leaving = entry.forgotten = True
                else:
                    self._leave(each, entry)
                    del self._entries[each]
            self._device.release()

    def expire(self, idle_seconds: float) -> tuple[str, ...]:
        """Take off the device what nobody has used for so long; the names."""
        with self._lock:
            now = self._clock()
            gone = tuple(
                name
                for name, entry in self._entries.items()
                if entry.state is not State.HOST
                and not entry.leases
                and now - entry.used >= idle_seconds
            )
            for name in gone:
                self._leave(name, self._entries[name])
            if gone:
                self._device.release()
            return gone

    def check_integrity(self) -> None:
        """The book against the device, while nobody leases anything. Raises LedgerMismatch."""
        with self._lock:
            if not any(entry.leases for entry in self._entries.values()):
                self.ledger.check_integrity()

    # --- moving ----------------------------------------------------------------------------

    def _named(self, name: str | None) -> tuple[str, ...]:
        if name is None:
            return tuple(self._entries)
        if name not in self._loaders:
            raise KeyError(f"no part {name!r} in {sorted(self._loaders)}")
        return (name,) if name in self._entries else ()

    def _bring(self, placement: Placement) -> None:
        name = placement.component
        entry = self._entries.get(name)
        precision = converted(placement.precision)
        if entry is not None and entry.precision != precision and not entry.leases:
            self._leave(name, entry)  # what was rounded cannot be had back: it is loaded anew
            del self._entries[name]
            entry = None
        if entry is None:
            part = self._loaders[name]()
            if precision is not None:
                quantize(part, precision)
            entry = _Entry(part, slots(part), precision, used=self._clock())
            self._entries[name] = entry
        if entry.leases == 0 and not self._is_as(entry, placement):
            self._leave(name, entry)
            if placement.residency is not Residency.HOST and self._device.torch.type != "cpu":
                self._enter(name, entry, placement)
        entry.leases += 1
        entry.used = self._clock()

    @staticmethod
    def _is_as(entry: _Entry, placement: Placement) -> bool:
        if placement.residency is Residency.HOST:
            return entry.state is State.HOST
        if placement.residency is Residency.STREAMED:
            return entry.state is State.PASSING and entry.kept == placement.kept
        return entry.state is State.DEVICE

    def _enter(self, name: str, entry: _Entry, placement: Placement) -> None:
        """Put a copy on the device in the place of every tensor that is to be there."""
        passing: tuple[nn.Module, ...] = ()
        if placement.residency is Residency.STREAMED:
            passing = streamed_blocks(entry.part, placement.kept)
        pin(entry.places, self._device)
        moving = {(id(s.module), s.name) for block in passing for s in matrices(block)}
        here = [slot for slot in entry.places if (id(slot.module), slot.name) not in moving]
        entry.cells = cells(here)
        entry.twins = twins(here, entry.cells)
        with ExitStack() as undo:
            undo.callback(self._leave, name, entry)  # half a part is none
            entry.memory = enter(piece(entry.cells), entry.twins, self._device.torch)
            if passing and isinstance(entry.part, nn.Module):
                entry.ring = Ring(entry.part, passing, self._device, SLOTS)
            undo.pop_all()
        entry.state = State.PASSING if passing else State.DEVICE
        entry.kept = placement.kept
        ring = [] if entry.ring is None else entry.ring.memory
        self.ledger.own(name, [entry.memory, *ring])

    def _leave(self, name: str, entry: _Entry) -> None:
        """Put the host tensors back; the device's copies are forgotten."""
        if entry.ring is not None:
            entry.ring.close()
        leave(entry.cells, entry.twins)
        entry.memory = None
        entry.cells, entry.twins, entry.ring = (), (), None
        entry.state, entry.leaving = State.HOST, False
        self.ledger.disown(name)
