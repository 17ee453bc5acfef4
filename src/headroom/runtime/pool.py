"""Hold a model's parts between runs: on the device, in host memory, or not loaded yet.

Weights never change. A part that leaves the device drops its copy there and uses its host tensors
again; nothing is copied back. A leased part never moves; if it is asked to leave while leased, it
leaves when it is given back.

A move can be interrupted at any instruction. So a part is marked as unsettled before anything in it
changes, and leaving can be repeated from any intermediate state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias, TypeVar

from torch import Tensor, nn

from headroom.device import Device
from headroom.memory.plan import SLOTS, Placement, Residency
from headroom.runtime.ledger import Ledger
from headroom.runtime.pinned import pinned
from headroom.runtime.prepare import (
    Slot,
    cells,
    enter,
    matrices,
    piece,
    restore,
    slots,
    streamed_blocks,
    twins,
)
from headroom.runtime.quantize import converted, quantize
from headroom.runtime.streaming import Ring
from headroom.runtime.turn import Turn
from headroom.runtime.undo import undone

T = TypeVar("T")
Loaders: TypeAlias = Mapping[str, Callable[[], object]]
Clock: TypeAlias = Callable[[], float]


class State(Enum):
    """Where a part is; the value is the text shown to users."""

    ABSENT = "not loaded"
    HOST = "in host memory"
    DEVICE = "on the device"
    PASSING = "passes through the device"


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part: where it is, the bytes it takes there, its users, how long it has been idle."""

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
        """A part, as its type. Raises KeyError if it was not leased, TypeError for another type."""
        part = self._parts[name]
        if not isinstance(part, kind):
            raise TypeError(f"part {name!r} is a {type(part).__name__}, not a {kind.__name__}")
        return part


@dataclass(frozen=True, slots=True, eq=False)
class _Lease:
    """One lease of a part. `owner` is the object that `end` is called with."""

    placement: Placement
    owner: object


@dataclass(slots=True)
class _Entry:
    """A loaded part. `kept` and `ring` say how much of it is on the device, if any."""

    part: object
    places: tuple[Slot, ...]
    precision: str | None  # None: as released
    memory: Tensor | None = None
    state: State = State.HOST
    settled: bool = True  # False: a move is under way or was interrupted
    kept: int = 0
    ring: Ring | None = None
    leases: list[_Lease] = field(default_factory=list)
    used: float = 0.0
    leaving: bool = False  # asked to leave while leased
    forgotten: bool = False  # asked to be released while leased


class Pool:
    """Loads each part when it is first leased, and keeps it in host memory until `release`.

    Thread-safe: one thread at a time moves parts, and `status` does not block. `expire` measures
    idle time with `clock`.
    """

    def __init__(self, device: Device, loaders: Loaders, clock: Clock = time.monotonic) -> None:
        self._device, self._loaders, self._clock = device, loaders, clock
        self._entries: dict[str, _Entry] = {}
        self._turn = Turn()
        self.ledger = Ledger(device)

    @property
    def floor(self) -> int:
        """Bytes the device held before the first part."""
        return self.ledger.floor

    @property
    def loaded(self) -> frozenset[str]:
        """The parts that are loaded, on the device or on the host."""
        return frozenset(self._entries)

    @property
    def on_device(self) -> frozenset[str]:
        """The parts whose weights are on the accelerator now, whole or streamed."""
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
            found.append(PartStatus(name, entry.state, size, len(entry.leases), idle))
        return tuple(found)

    # --- leases ----------------------------------------------------------------------------

    def lease(self, placements: Iterable[Placement], owner: object = None) -> Parts:
        """The parts, each where its placement puts it. If one fails, none stays leased.

        A streamed part must be used in the inference mode it was leased in, by one thread at a
        time.
        """
        leases = [_Lease(placement, owner) for placement in placements]
        try:
            with self._turn:
                for lease in leases:
                    self._bring(lease)
                names = (lease.placement.component for lease in leases)
                return Parts({name: self._entries[name].part for name in names})
        except BaseException:
            self._end(leases)
            raise

    def give_back(self, placements: Iterable[Placement], owner: object = None) -> None:
        """End one lease of each part, held by the same owner."""
        going = []
        with self._turn:
            for placement in placements:
                entry = self._entries.get(placement.component)
                held = [] if entry is None else entry.leases
                mine = [one for one in held if one.owner is owner and one not in going]
                same = [one for one in mine if one.placement == placement]
                going += (same or mine)[-1:]
            self._end(going)

    def end(self, owner: object) -> None:
        """End all leases of an owner, if there are any."""
        with self._turn:
            leases = [one for entry in self._entries.values() for one in entry.leases]
            self._end([one for one in leases if one.owner is owner])

    def recover(self, idle_seconds: float = 0.0) -> None:
        """End leases left by interrupted calls, and take off the device parts whose move was
        interrupted, if last leased at least `idle_seconds` ago. Call only while no work runs."""
        with self._turn:
            now = self._clock()
            entries = [(n, e) for n, e in self._entries.items() if now - e.used >= idle_seconds]
            self._end([one for _, entry in entries for one in entry.leases])
            for name, entry in entries:
                if not entry.settled:
                    self._leave(name, entry)

    def _end(self, leases: Iterable[_Lease]) -> None:
        """End leases that have not ended. A part that is not resident leaves the device with its
        last lease.

        Its memory is released at once: the allocator would split a piece this large for smaller
        tensors, and it would then not be available as a whole.
        """
        left = False
        with self._turn:
            for lease in leases:
                name = lease.placement.component
                entry = self._entries.get(name)
                if entry is None or lease not in entry.leases:
                    continue
                if entry.settled:  # otherwise it was never used
                    entry.used = self._clock()
                if len(entry.leases) == 1:
                    stays = lease.placement.residency is Residency.RESIDENT and not entry.leaving
                    if not stays or not entry.settled:
                        left = left or entry.memory is not None
                        self._leave(name, entry)
                    if entry.forgotten:
                        del self._entries[name]
                entry.leases.remove(lease)  # last: until then it can be ended again
            if left:
                self._device.release()

    def make_room(self, residents: Iterable[str]) -> None:
        """Take off the device every part that is neither in `residents` nor leased."""
        stay = set(residents)
        with self._turn:
            going = [
                (name, entry)
                for name, entry in self._entries.items()
                if name not in stay and not entry.leases and self._is_there(entry)
            ]
            for name, entry in going:
                self._leave(name, entry)
            if going:
                self._device.release()

    def offload(self, name: str | None = None) -> None:
        """Take a part, or all of them, off the device; a leased part leaves when given back."""
        with self._turn:
            for each in self._named(name):
                entry = self._entries[each]
                if entry.leases:
                    entry.leaving = True
                else:
                    self._leave(each, entry)
            self._device.release()

    def release(self, name: str | None = None) -> None:
        """Unload a part, or all of them: nothing stays on the device or in host memory."""
        with self._turn:
            for each in self._named(name):
                entry = self._entries[each]
                if entry.leases:
                    entry.leaving = entry.forgotten = True
                else:
                    self._leave(each, entry)
                    del self._entries[each]
            self._device.release()

    def expire(self, idle_seconds: float) -> tuple[str, ...]:
        """Take parts idle for `idle_seconds` off the device; returns their names."""
        with self._turn:
            now = self._clock()
            gone = tuple(
                name
                for name, entry in self._entries.items()
                if self._is_there(entry) and not entry.leases and now - entry.used >= idle_seconds
            )
            for name in gone:
                self._leave(name, self._entries[name])
            if gone:
                self._device.release()
            return gone

    def check_integrity(self) -> None:
        """Check the ledger against the device if nothing is leased. Raises LedgerMismatch."""
        with self._turn:
            if not any(entry.leases for entry in self._entries.values()):
                self.ledger.check_integrity()

    # --- moving ----------------------------------------------------------------------------

    def _named(self, name: str | None) -> tuple[str, ...]:
        if name is None:
            return tuple(self._entries)
        if name not in self._loaders:
            raise KeyError(f"no part {name!r} in {sorted(self._loaders)}")
        return (name,) if name in self._entries else ()

    def _bring(self, lease: _Lease) -> None:
        placement = lease.placement
        name = placement.component
        entry = self._entries.get(name)
        precision = converted(placement.precision)
        if entry is not None and entry.precision != precision and not entry.leases:
            self._leave(name, entry)  # rounding cannot be undone: it is loaded again
            del self._entries[name]
            entry = None
        if entry is None:
            part = self._loaders[name]()
            if precision is not None:
                quantize(part, precision)
            entry = _Entry(part, slots(part), precision, used=self._clock())
            self._entries[name] = entry
        entry.leases.append(lease)
        if len(entry.leases) == 1 and not self._is_as(entry, placement):
            self._leave(name, entry)
            if placement.residency is not Residency.HOST and self._device.torch.type != "cpu":
                self._enter(name, entry, placement)
        entry.used = self._clock()

    @staticmethod
    def _is_there(entry: _Entry) -> bool:
        """Whether any of it is, or may be, on the device."""
        return entry.state is not State.HOST or not entry.settled

    @staticmethod
    def _is_as(entry: _Entry, placement: Placement) -> bool:
        if not entry.settled:
            return False
        if placement.residency is Residency.HOST:
            return entry.state is State.HOST
        if placement.residency is Residency.STREAMED:
            return entry.state is State.PASSING and entry.kept == placement.kept
        return entry.state is State.DEVICE

    def _enter(self, name: str, entry: _Entry, placement: Placement) -> None:
        """Replace every tensor that belongs on the device by a copy there.

        If that fails, the part stays unsettled and leaves with its last lease.
        """
        entry.settled = False
        passing: tuple[nn.Module, ...] = ()
        if placement.residency is Residency.STREAMED:
            passing = streamed_blocks(entry.part, placement.kept)
        entry.places = pinned(entry.places, self._device)
        restore(entry.places)
        moving = {(id(s.module), s.name) for block in passing for s in matrices(block)}
        here = [slot for slot in entry.places if (id(slot.module), slot.name) not in moving]
        made = cells(here)
        entry.memory = enter(piece(made), twins(here, made), self._device.torch)
        if passing and isinstance(entry.part, nn.Module):
            entry.ring = Ring(entry.part, passing, self._device, SLOTS)
            entry.ring.open()
        entry.state = State.PASSING if passing else State.DEVICE
        entry.kept = placement.kept
        ring = [] if entry.ring is None else entry.ring.memory
        self.ledger.own(name, [entry.memory, *ring])
        entry.settled = True

    def _leave(self, name: str, entry: _Entry) -> None:
        """Put the host tensors back and drop the device's copies."""
        undone(lambda: None, lambda: self._drop(name, entry))

    def _drop(self, name: str, entry: _Entry) -> None:
        """Do whatever part of leaving is not done yet."""
        if not self._is_there(entry):
            entry.leaving = False
            return
        entry.settled = False
        if entry.ring is not None:
            entry.ring.close()
        restore(entry.places)
        entry.memory = entry.ring = None
        self.ledger.disown(name)
        entry.state, entry.leaving = State.HOST, False
        entry.settled = True
