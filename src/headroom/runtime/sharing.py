"""A card's part in the account that its processes keep: leases for work, idle bytes for others.

Idle parts are given back on request by a thread, which is there only while there are some, and only
where memory is managed or another member was seen at the end of a call.
"""

from __future__ import annotations

import random
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from headroom.device import Device
from headroom.errors import Cancelled, DoesNotFit
from headroom.hardware.machine import CONTEXT
from headroom.log import log
from headroom.runtime.arbiter.account import Card, Member
from headroom.runtime.arbiter.arbiter import Arbiter
from headroom.runtime.arbiter.folder import Account, AccountLost, place_of
from headroom.runtime.arbiter.processes import OnCard, on_card
from headroom.runtime.events import Stop
from headroom.runtime.ledger import Ledger
from headroom.runtime.turn import Moved, Turn
from headroom.settings import Settings

LISTEN = 0.05  # seconds between two looks at the bell
QUIET = 1.0  # seconds after which a listener looks though nobody rang
NAP = 0.1  # seconds, about, between two tries while programs outside hold the memory

R = TypeVar("R")


class HasBytes(Protocol):
    """Parts on a card."""

    def bytes(self) -> int:
        """What they take there."""


class Sharing:
    """Leases and answers for one device of this process.

    free  takes idle parts off the device until so many bytes of them have left, but not those of a
          tenant that is at work
    """

    def __init__(
        self,
        account: Account,
        device: Device,
        ledger: Ledger,
        free: Callable[[int, HasBytes | None], None],
        settings: Settings,
    ) -> None:
        self._device, self._ledger, self._free = device, ledger, free
        self._patience, self._managed = settings.gpu_wait, settings.gpu_management
        self._worker: HasBytes | None = None
        self._listener: _Listener | None = None
        self._listening = Turn()  # around its beginning and its end
        self._context = CONTEXT if device.kind in ("cuda", "xpu") else 0
        me = Member(
            id="",
            name=Path(next(iter(sys.argv), "")).stem or "python",
            budget=device.cap or device.total_memory(),
            context=self._context,
            priority=settings.gpu_priority,
            used=time.time(),
        )
        self.arbiter = Arbiter(account, self._measure, self._give_back, me)

    @classmethod
    def of(
        cls,
        device: Device,
        ledger: Ledger,
        free: Callable[[int, HasBytes | None], None],
        settings: Settings,
    ) -> Sharing | None:
        """None where no other process can use the device, or the account cannot be kept."""
        if device.identity is None:
            return None
        try:
            account = Account(place_of(settings.accounts, device.identity))
            return cls(account, device, ledger, free, settings)
        except (OSError, AccountLost) as error:
            log.warning("the card is not shared with other processes: %s", error)
            return None

    def room(self, *, waiting: bool) -> int:
        """Bytes for this process, what its parts take included, once others have given back what
        they do not use; `waiting`: and once their work has ended."""
        return self.arbiter.room(waiting=waiting)

    def lease(self, worker: HasBytes, need: int, stop: Stop, moved: Moved) -> None:
        """Reserve bytes for the work of a tenant, its parts included; waits for them.

        Raises Cancelled, DoesNotFit.
        """
        self._worker = worker
        self.arbiter.lease(need, stop, moved, self._patience)

    def end(self) -> None:
        """End the lease, if there is one."""
        me = self.arbiter.me
        if self._worker is None and not (me.leased or me.need):
            return
        self._worker = None
        others = self.arbiter.others()
        if others:
            self._device.release()  # what nobody here uses is there for the others
        self.arbiter.end()
        if (others or self._managed) and self.arbiter.me.idle:
            self._listen()

    def changed(self) -> None:
        """Tell what is idle now, after parts have left. Does nothing while work is going on."""
        if self._worker is None:
            self.arbiter.refresh()

    def patiently(self, plan: Callable[[], R], stop: Stop) -> R:
        """What `plan` returns. Where it raises DoesNotFit for what programs outside the account
        hold, it is tried again, for a while. Raises Cancelled."""
        until = time.monotonic() + self._patience
        while True:
            try:
                return plan()
            except DoesNotFit as error:
                if error.least - error.budget > self._kept() or time.monotonic() >= until:
                    raise
            if stop():
                raise Cancelled("stopped while other programs held the card's memory")
            time.sleep(NAP * random.uniform(0.5, 1.5))

    def processes(self) -> tuple[OnCard, ...]:
        """Every process that keeps the account of the card, this one first."""
        members = (self.arbiter.me, *self.arbiter.others())
        return tuple(on_card(str(self._device.identity), one, time.time()) for one in members)

    def close(self) -> None:
        """Leave the account."""
        if self._listener is not None:
            self._listener.close()
        self.arbiter.close()

    # --- what the arbiter asks ---------------------------------------------------------------

    def _measure(self) -> Card:
        device, mine, worker = self._device, self._ledger.bytes(), self._worker
        idle = mine + max(0, device.memory_reserved() - device.memory_allocated())
        if worker is not None:
            idle = max(0, mine - worker.bytes())
        return Card(device.total_memory() - self._context, device.free_memory(), mine, idle)

    def _kept(self) -> int:
        """Bytes that nobody gives back when asked."""
        others = self.arbiter.others()
        silent = sum(other.idle - other.gives for other in others)
        return self._measure().elsewhere(others) + silent

    def _give_back(self, wanted: int) -> None:
        self._free(wanted, self._worker if self.arbiter.me.leased else None)

    def _listen(self) -> None:
        with self._listening:
            if self._listener is None or self._listener.over:
                self._listener = _Listener(self.arbiter, self._listening, self._managed)


class _Listener(threading.Thread):
    """Looks at the account when somebody rings, until it is closed, or nothing is idle here; unless
    `always`, also until nobody else is there. `over`: it does not look any more."""

    def __init__(self, arbiter: Arbiter, listening: Turn, always: bool) -> None:
        super().__init__(name="card account", daemon=True)
        self._arbiter, self._listening, self._always = weakref.ref(arbiter), listening, always
        self._ended, self.over = threading.Event(), False
        arbiter.listens(True)
        self.start()

    def close(self) -> None:
        """End the thread. May be called again."""
        self._ended.set()
        if self is not threading.current_thread():
            self.join()

    def run(self) -> None:
        """Look."""
        heard, looked = -1, 0.0
        while not self._ended.wait(LISTEN):
            arbiter = self._arbiter()
            if arbiter is None:
                return
            bell, now = arbiter.account.bell(), time.monotonic()
            try:
                if bell != heard or now - looked > QUIET:
                    heard, looked = bell, now
                    arbiter.look()
                if self._has_ended(arbiter, looked == now):
                    return
            except AccountLost as error:
                log.warning("the account of the card: %s", error)
                self.over = True
                return

    def _has_ended(self, arbiter: Arbiter, looked: bool) -> bool:
        """Whether there is nothing to give, or nobody to give it to."""
        with self._listening:
            me = arbiter.me
            nothing = not (me.idle or me.leased or me.need)
            if nothing or (looked and not self._always and not arbiter.others()):
                self.over = True
                arbiter.listens(False)
            return self.over
