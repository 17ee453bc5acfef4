"""A device as all engines of a process share it: its memory, its threads, and whose turn it is.

Each engine keeps the parts of its model in a pool of its own, so engines share no part. What idle
parts occupy counts as free for every engine: they leave, the least recently used first, when
another engine needs the room. That is the device's memory: in host memory, also where the host
computes, parts stay until their engine releases them. One call at a time works on a card, whichever
engine it is for.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol, TypeVar

import torch

from headroom.device import AUTO, Device
from headroom.errors import InvalidRequest
from headroom.hardware.machine import Machine, group
from headroom.hardware.probe import machine_of, open_probed
from headroom.log import log
from headroom.runtime.arbiter.folder import AccountLost
from headroom.runtime.arbiter.processes import OnCard
from headroom.runtime.events import Stop
from headroom.runtime.ledger import Ledger, PartKey
from headroom.runtime.sharing import HasBytes, Sharing
from headroom.runtime.turn import Moved, Turn, ignored
from headroom.runtime.undo import Dropping, undone
from headroom.settings import GROUPED, MOST_CARDS, Settings

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Idle:
    """A part on the device that no call uses: the time of its last use, and how it leaves."""

    used: float
    leave: Callable[[], None]


class Tenant(Protocol):
    """The parts of one engine, as its card sees them."""

    def bytes(self) -> int:
        """What they take on the device."""

    def idle(self) -> Iterable[Idle]:
        """The parts that may leave the device now."""

    def recover(self) -> None:
        """Undo what an interrupted call left behind. Called only while no work runs."""


class Card:
    """A device with its ledger, turns and threads; see the module's docstring.

    turn    of the calls that work on it; `moves`: of moving parts, also while a call is at work
    number  tells cards of the process apart; who takes the turns of several takes them in its order
    """

    def __init__(self, device: Device) -> None:
        self.device, self.ledger = device, Ledger(device)
        self.number = next(_numbers)
        self.turn, self.moves = Turn(), Turn()
        self._tenants: dict[int, weakref.ref[Tenant]] = {}
        self._numbers = count()
        self._threads_before: int | None = None  # torch's number, while another is in force
        self.sharing: Sharing | None = None

    @staticmethod
    def of(device: Device) -> Card:
        """The process's card for a device. It lasts for as long as somebody refers to it.

        There is one for each device of the machine, and one for each SimulatedDevice object.
        """
        simulated = device.kind == "simulated"
        place = device.kind, str(id(device) if simulated else device.torch)
        with _finding:
            return _cards.get(place) or _cards.setdefault(place, Card(device))

    def admit(self, tenant: Tenant) -> int:
        """Take in the parts of an engine; returns the number that tells them from others here."""
        number = next(self._numbers)
        self._tenants[number] = weakref.ref(tenant)
        return number

    def dismiss(self, number: int, *parts: PartKey) -> None:
        """Forget a tenant that is gone, and what its parts took. A finalizer may call it."""
        self._tenants.pop(number, None)
        self.ledger.disown(*parts)

    def share(self, settings: Settings) -> None:
        """Keep an account of the device with the other processes that use it, where it has one."""
        if self.sharing is None:
            me = weakref.ref(self)

            def free(wanted: int, worker: HasBytes | None) -> None:
                if (card := me()) is not None:
                    card.give_back(wanted, worker)

            self.sharing = Sharing.of(self.device, self.ledger, free, settings)
            if self.sharing is not None:
                weakref.finalize(self, self.sharing.close)

    def now(self, machine: Machine, *, waiting: bool = False) -> Machine:
        """The machine with its free memory now, counting that of all parts as free, and of other
        processes what they would give back; `waiting`: and what their work takes now."""
        if not machine.accelerated:
            return machine
        free = self.device.free_memory() + self.ledger.bytes()
        with self._kept() as sharing:
            if sharing is not None:
                free = sharing.room(waiting=waiting)
        return replace(machine, free=max(0, min(free, machine.total)))

    def lease(self, tenant: Tenant, need: int, stop: Stop, moved: Moved) -> None:
        """Reserve bytes of the device among processes for the work at hand, until it ends.

        need  what the tenant's parts and its work take together

        Idle parts of other tenants make room first. Raises Cancelled, and DoesNotFit where programs
        that keep no account do not let go.
        """
        with self._kept() as sharing:
            if sharing is not None:
                self._make_room(tenant, max(0, sharing.room(waiting=False) - need))
                sharing.lease(tenant, need, stop, moved)

    def changed(self) -> None:
        """Tell other processes what is idle here now."""
        with self._kept() as sharing:
            if sharing is not None:
                sharing.changed()

    def processes(self) -> tuple[OnCard, ...]:
        """Every process that keeps the account of the device, this one first; none where there is
        no account."""
        told: tuple[OnCard, ...] = ()
        with self._kept() as sharing:
            if sharing is not None:
                told = sharing.processes()
        return told

    def give_back(self, wanted: int, worker: HasBytes | None) -> None:
        """Take idle parts off the device for other processes, the least recently used first, until
        so many bytes have left; none of a tenant that is at work."""
        with self.moves:
            least = self.ledger.bytes() - wanted
            tenants = [one for one in self._present() if one is not worker]
            _empty(tenants, lambda: self.ledger.bytes() <= least)
            self.device.release()

    def make_room(self, tenant: Tenant, spare: int) -> bool:
        """Take idle parts of other engines off the device, the least recently used first, until at
        most `spare` bytes of them are left; returns whether any left."""
        others = [one for one in self._present() if one is not tenant]
        return _empty(others, lambda: sum(one.bytes() for one in others) <= spare)

    def alone(
        self,
        work: Callable[[], R],
        stop: Stop,
        moved: Moved = ignored,
        *,
        threads: int | None = None,
        cap: int | None = None,
    ) -> R:
        """Do work exclusively.

        stop     polled while other calls come first; `moved`: hears the position in the queue
        threads  of the host during the work; None: torch's own number
        cap      bytes that the device may allocate during the work and after; None: no limit

        Raises Cancelled if stopped before the work began, and whatever the work raises.
        """
        with Dropping(), self.turn.waited_for(stop, moved):
            self._tidy()
            return undone(lambda: self._prepared(work, threads, cap), self._tidy)

    @contextmanager
    def _kept(self) -> Iterator[Sharing | None]:
        """The account, in a block; where it cannot be kept any more, work goes on without it."""
        try:
            yield self.sharing
        except AccountLost as error:
            log.warning("the card is not shared with other processes any more: %s", error)
            self.sharing = None

    def _make_room(self, tenant: Tenant, spare: int) -> None:
        with self.moves:
            if self.make_room(tenant, spare):
                self.device.release()

    def _prepared(self, work: Callable[[], R], threads: int | None, cap: int | None) -> R:
        if self.device.cap != cap:
            self.device.set_cap(cap)
        if threads is not None:
            self._threads_before = torch.get_num_threads()
            torch.set_num_threads(threads)
        return work()

    def _tidy(self) -> None:
        """Undo what a call changed: this call, or an earlier one that was interrupted."""
        if self._threads_before is not None:
            torch.set_num_threads(self._threads_before)
            self._threads_before = None
        for tenant in self._present():
            tenant.recover()
        with self._kept() as sharing:
            if sharing is not None:
                sharing.end()

    def _present(self) -> list[Tenant]:
        tenants = (reference() for reference in tuple(self._tenants.values()))
        return [tenant for tenant in tenants if tenant is not None]


def _empty(tenants: Sequence[Tenant], enough: Callable[[], bool]) -> bool:
    """Take idle parts of tenants off the device, the least recently used first, until it is enough;
    returns whether any left."""
    idle = sorted((part for one in tenants for part in one.idle()), key=lambda part: part.used)
    going = False
    for part in idle:
        if enough():
            break
        part.leave()
        going = True
    return going


_cards: weakref.WeakValueDictionary[tuple[str, str], Card] = weakref.WeakValueDictionary()
_finding = Turn()
_numbers = count()


def opened_cards(
    settings: Settings, word: str, given: Card | Sequence[Card] | None = None
) -> tuple[tuple[Card, ...], Machine]:
    """The cards of the devices named by `word`, or else by the settings, and their machine now.

    given  taken instead, with the limits in force there: a card, or several as a group

    Raises the errors of `open_probed`, and InvalidRequest for anything but cards, for one that is
    given twice, and for a word beside cards.
    """
    cards = _checked(given)
    if cards and word != AUTO:
        raise InvalidRequest("device", word, f"{AUTO}, where a card is passed")
    devices = tuple(card.device for card in cards) or open_probed(settings, word)
    machine = machine_of(devices, settings)
    cards = cards or tuple(Card.of(device) for device in devices)
    for card, device in zip(cards, devices, strict=True):
        card.share(settings)
        if card.device is not device:
            card.device.set_cap(card.device.cap)  # opening the device again put another in force
    return cards, now_on(cards, machine, waiting=True)  # the work of others ends


def now_on(cards: Sequence[Card], machine: Machine, *, waiting: bool = False) -> Machine:
    """The machine of these cards with the free memory of each now; see `Card.now`."""
    each = zip(cards, machine.cards, strict=True)
    return group([card.now(one, waiting=waiting) for card, one in each])


def _checked(given: Card | Sequence[Card] | None) -> tuple[Card, ...]:
    if given is None:
        return ()
    cards = (given,) if isinstance(given, Card) else given
    if not isinstance(cards, tuple | list) or not all(isinstance(one, Card) for one in cards):
        raise InvalidRequest("card", given, "a Card, such as another engine's `card`, or several")
    if len({id(card) for card in cards}) < len(cards) or not 0 < len(cards) <= MOST_CARDS:
        raise InvalidRequest("card", f"{len(cards)} cards", f"1 to {MOST_CARDS} different cards")
    kinds = {card.device.kind for card in cards}
    if len(cards) > 1 and (len(kinds) > 1 or not kinds.issubset(GROUPED)):
        raise InvalidRequest("card", " and ".join(sorted(kinds)), "several cards of one kind")
    return tuple(cards)
