"""Hold a model's parts between runs: on the card, in host memory, or not loaded yet.

Weights never change. A part that leaves the device drops its copy there and uses its host tensors
again; nothing is copied back. A leased part never moves; if it is asked to leave while leased, it
leaves when it is given back.

A move can be interrupted at any instruction. So a part is marked as unsettled before anything in it
changes, and leaving can be repeated from any intermediate state.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

from torch import nn

from headroom.device import Device
from headroom.memory.plan import SLOTS, Placement, Residency
from headroom.runtime.card import Card, Idle
from headroom.runtime.entry import Entry, Lease, State
from headroom.runtime.ledger import Ledger, PartKey
from headroom.runtime.pinned import pinned
from headroom.runtime.prepare import (
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
from headroom.runtime.undo import undone

T = TypeVar("T")
Loaders: TypeAlias = Mapping[str, Callable[[], object]]
Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part: where it is, the bytes it takes there, its users, how long it has been idle.

    card  the number of the card that holds it, where an engine has several
    """

    name: str
    state: State
    device_bytes: int
    leases: int
    idle_seconds: float | None
    card: int = 0


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


class Pool:
    """Loads each part when it is first leased, and keeps it in host memory until `release`.

    card   where they are, which other pools may share; or a device, for a card of its own
    clock  by which idle time is measured: the same for all pools of a card
    owner  the family and the model, by which the ledger names the parts

    Thread-safe: one thread at a time moves parts on a card, and `status` does not block.
    """

    def __init__(
        self,
        card: Card | Device,
        loaders: Loaders,
        clock: Clock = time.monotonic,
        owner: tuple[str, str] = ("", ""),
    ) -> None:
        self._card = card if isinstance(card, Card) else Card(card)
        self._device, self._turn = self._card.device, self._card.moves
        self._loaders, self._clock = loaders, clock
        self._entries: dict[str, Entry] = {}
        number = self._card.admit(self)
        self._keys = {name: PartKey(*owner, name, number) for name in loaders}
        # The tensors go with the pool, whoever drops it.
        weakref.finalize(self, self._card.dismiss, number, *self._keys.values()).atexit = False
        # Bytes before the first part; a host's process also grows by what others do in it.
        on_host = self._device.kind == "cpu"
        self.floor = self._device.memory_allocated() if on_host else self.ledger.floor

    @property
    def ledger(self) -> Ledger:
        """The account of the card, for the parts of all pools."""
        return self._card.ledger

    def bytes(self, name: str | None = None) -> int:
        """Bytes on the device of a part, or of all parts of this pool."""
        keys = self._keys.values() if name is None else (self._keys[name],)
        return self.ledger.bytes(*keys) if keys else 0

    @property
    def bytes_of_others(self) -> int:
        """Bytes on the device of the parts of the card's other pools."""
        return self.ledger.bytes() - self.bytes()

    @property
    def loaded(self) -> frozenset[str]:
        """The parts that are loaded, on the device or on the host."""
        return frozenset(self._entries)

    @property
    def on_device(self) -> frozenset[str]:
        """The parts whose weights are on the accelerator now, whole or streamed."""
        on_device = (State.DEVICE, State.PASSING)
        return frozenset(n for n, e in list(self._entries.items()) if e.state in on_device)

    def status(self) -> tuple[PartStatus, ...]:
        """Every part the model has, as it is now."""
        now = self._clock()
        statuses = []
        for name in self._loaders:
            entry = self._entries.get(name)
            if entry is None:
                statuses.append(PartStatus(name, State.ABSENT, 0, 0, None))
                continue
            idle = None if entry.leases else max(0.0, now - entry.used)
            size = self.bytes(name)
            statuses.append(PartStatus(name, entry.state, size, len(entry.leases), idle))
        return tuple(statuses)

    def missing(self, placement: Placement) -> int:
        """The bytes of a part that a lease would have to load, or move to the device, first."""
        entry = self._entries.get(placement.component)
        if entry is not None:
            if entry.leases or entry.is_as(placement):
                return 0
            stays = placement.residency is Residency.HOST or self._device.torch.type == "cpu"
            if stays and entry.precision == converted(placement.precision):
                return 0
        return placement.bytes

    # --- leases ----------------------------------------------------------------------------

    def lease(self, placements: Iterable[Placement], owner: object = None) -> Parts:
        """The parts, each where its placement puts it. If one fails, none stays leased.

        A streamed part must be used in the inference mode it was leased in, by one thread at a
        time.
        """
        leases = [Lease(placement, owner) for placement in placements]
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

    def _end(self, leases: Iterable[Lease]) -> None:
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

    def take_over(self, name: str, other: Pool) -> None:
        """Hold a part from now on that another pool of the engine holds, which then has left its
        device. One that is leased there, or held here already, stays."""
        with other._turn, self._turn:
            entry = other._entries.get(name)
            if entry is None or entry.leases or name in self._entries:
                return
            if entry.is_there:
                other._leave(name, entry)
                other._device.release()
            # Never in both: interrupted in between, it is in none, and is loaded again.
            self._entries[name] = other._entries.pop(name)

    def make_room(self, residents: Iterable[str], spare: int = 0) -> None:
        """Take off the device every part that is neither in `residents` nor leased; and idle parts
        of the card's other pools, until at most `spare` bytes of them are left."""
        stay = set(residents)
        with self._turn:
            going = [name for name in self._idle() if name not in stay]
            for name in going:
                self._leave(name, self._entries[name])
            if self._card.make_room(self, spare) or going:
                self._device.release()

    def idle(self) -> tuple[Idle, ...]:
        """The parts on the device that nobody leases, for the card. Call only in its `moves`."""
        return tuple(
            Idle(self._entries[name].used, partial(self._leave, name, self._entries[name]))
            for name in self._idle()
        )

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
        self._card.changed()

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
        self._card.changed()

    def expire(self, idle_seconds: float) -> tuple[str, ...]:
        """Take parts idle for `idle_seconds` off the device; returns their names."""
        with self._turn:
            now = self._clock()
            gone = tuple(n for n in self._idle() if now - self._entries[n].used >= idle_seconds)
            for name in gone:
                self._leave(name, self._entries[name])
            if gone:
                self._device.release()
        if gone:
            self._card.changed()
        return gone

    def check_integrity(self) -> None:
        """Check the ledger against the device if nothing is leased. Raises LedgerMismatch."""
        with self._turn:
            if not any(entry.leases for entry in self._entries.values()):
                self.ledger.check_integrity()

    def _idle(self) -> list[str]:
        """The parts on the device that nobody leases."""
        return [n for n, entry in self._entries.items() if entry.is_there and not entry.leases]

    # --- moving ----------------------------------------------------------------------------

    def _named(self, name: str | None) -> tuple[str, ...]:
        if name is None:
            return tuple(self._entries)
        if name not in self._loaders:
            raise KeyError(f"no part {name!r} in {sorted(self._loaders)}")
        return (name,) if name in self._entries else ()

    def _bring(self, lease: Lease) -> None:
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
            entry = Entry(part, slots(part), precision, used=self._clock())
            self._entries[name] = entry
        entry.leases.append(lease)
        if len(entry.leases) == 1 and not entry.is_as(placement):
            self._leave(name, entry)
            if placement.residency is not Residency.HOST and self._device.torch.type != "cpu":
                self._enter(name, entry, placement)
        entry.used = self._clock()

    def _enter(self, name: str, entry: Entry, placement: Placement) -> None:
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
        slots = [slot for slot in entry.places if (id(slot.module), slot.name) not in moving]
        entering = cells(slots)
        entry.memory = enter(piece(entering), twins(slots, entering), self._device.torch)
        if passing and isinstance(entry.part, nn.Module):
            entry.ring = Ring(entry.part, passing, self._device, SLOTS)
            entry.ring.open()
        entry.state = State.PASSING if passing else State.DEVICE
        entry.kept = placement.kept
        ring = [] if entry.ring is None else entry.ring.memory
        self.ledger.own(self._keys[name], [entry.memory, *ring])
        entry.settled = True

    def _leave(self, name: str, entry: Entry) -> None:
        """Put the host tensors back and drop the device's copies."""
        undone(lambda: None, lambda: self._drop(name, entry))

    def _drop(self, name: str, entry: Entry) -> None:
        """Do whatever part of leaving is not done yet."""
        if not entry.is_there:
            entry.leaving = False
            return
        entry.settled = False
        if entry.ring is not None:
            entry.ring.close()
        restore(entry.places)
        entry.memory = entry.ring = None
        self.ledger.disown(self._keys[name])
        entry.state, entry.leaving = State.HOST, False
        entry.settled = True
