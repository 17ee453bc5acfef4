"""One process's part in sharing a card: its member of the account, its needs and its answers.

Memory that work needs is leased before the work begins. Where the card has not enough, the need
stands in the account, holders of idle bytes give them back, and the work waits for its turn.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from headroom.errors import Cancelled, DoesNotFit
from headroom.runtime.arbiter.account import (
    Card,
    Member,
    Turn,
    Verdict,
    asked_of,
    judge,
    next_ticket,
)
from headroom.runtime.arbiter.folder import Account
from headroom.runtime.events import Stop, never
from headroom.runtime.turn import Moved, ignored

PATIENCE = 2.0  # seconds for an answer; then others are asked instead
LOOK = 0.05  # seconds between two looks at the account where nobody rings
LONGEST_LOOK = 1.0  # the same, for bytes that programs outside the account hold
GLANCE = 0.004  # seconds between two looks at the bell

Measure: TypeAlias = Callable[[], Card]
GiveBack: TypeAlias = Callable[[int], None]
R = TypeVar("R")


@dataclass(slots=True)
class Spent:
    """Seconds of one lease: of the arbiter itself, by the clock and of the processor, and of
    waiting for others. What it does while it waits for others takes nobody's time."""

    own: float = 0.0
    cpu: float = 0.0
    waiting: float = 0.0


class Arbiter:
    """A member of the account of a card.

    measure    the card as this process sees it now
    give_back  takes so many idle bytes off the card, or all there are
    me         what the record tells beside bytes: name, budget, priority

    Thread-safe; one thread at a time may lease. Every method raises AccountLost where the folder of
    the account cannot be used any more.
    """

    def __init__(
        self, account: Account, measure: Measure, give_back: GiveBack, me: Member | None = None
    ) -> None:
        self.account, self._measure, self._give_back = account, measure, give_back
        fresh = Member(secrets.token_hex(8), pid=os.getpid(), host=socket.gethostname())
        self._me = fresh if me is None else replace(me, id=fresh.id, pid=fresh.pid, host=fresh.host)
        self._written = False  # whether the record is as `_me`
        self._asked_at: dict[str, float] = {}  # when each holder was asked, on our clock
        self._deaf: set[str] = set()
        self.spent = Spent()
        account.within(lambda: account.join(self._me))
        self._written = True

    @property
    def me(self) -> Member:
        """This process's own record."""
        return self._me

    def others(self) -> list[Member]:
        """The other members, as they are now."""
        return self.account.within(self._others)

    def room(self, *, waiting: bool = False) -> int:
        """Bytes that this process could lease once idle bytes of others have been given back, its
        own parts included; `waiting`: and once the work of others has ended."""
        measured = lambda: self._measure().room(self._others(), asking=True, waiting=waiting)  # noqa: E731
        return self.account.within(measured)

    # --- leases ----------------------------------------------------------------------------

    def lease(
        self, need: int, stop: Stop = never, moved: Moved = ignored, patience: float = 0.0
    ) -> None:
        """Reserve bytes for work, the parts that it uses included, until `end`; wait for them.

        stop      polled while it waits; `moved`: hears the position in the queue
        patience  seconds for bytes that programs outside the account hold

        Raises Cancelled, and DoesNotFit where such programs do not let go.
        """
        self.spent, announced, outside = Spent(), 0, 0.0
        with ExitStack() as undo:
            undo.callback(self.end)  # unless it is granted
            while (verdict := self.step(need, stop)).turn is not Turn.GRANTED:
                if stop():
                    raise Cancelled("stopped while other programs were at work on the card")
                if verdict.turn is Turn.OUTSIDE and outside >= patience:
                    raise self._outside(need)
                if verdict.ahead + 1 != announced:
                    announced = verdict.ahead + 1
                    moved(announced)
                began = time.perf_counter()
                self._nap(outside if verdict.turn is Turn.OUTSIDE else None)
                self.look()
                waited = time.perf_counter() - began
                outside = outside + waited if verdict.turn is Turn.OUTSIDE else 0.0
                self.spent.waiting += waited
            undo.pop_all()

    def step(self, need: int, stop: Stop = never) -> Verdict:
        """Look once whether a need can be granted; if not, it stands in the account. Raises
        Cancelled."""
        return self._timed(lambda: self._step(need), stop)

    def end(self) -> None:
        """End the lease, and need nothing any more; harmless where there is neither."""
        self._timed(self._end)

    def listens(self, whether: bool) -> None:
        """Tell whether somebody calls `look` all the time, also while nothing is leased."""
        self.account.within(lambda: self._put(listens=whether))

    def look(self) -> bool:
        """Give back what others ask for, and acknowledge it; whether anything was asked for."""
        asks = asked_of(self._me, self.others())
        if not asks:
            return False
        self._give_back(sum(ask.bytes for ask in asks.values()))
        given = {id: ask.number for id, ask in asks.items()}

        def acknowledge() -> None:
            there = {other.id for other in self._others()}
            answers = {id: n for id, n in {**self._me.answers, **given}.items() if id in there}
            self._put(idle=self._idle(), answers=answers)
            self.account.ring()

        self.account.within(acknowledge)
        return True

    def refresh(self) -> None:
        """Tell what is idle now, if that has changed."""
        self.account.within(self._refresh)

    def close(self) -> None:
        """Leave the account."""
        self.account.within(lambda: self.account.leave(self._me.id))
        self.account.close()

    # --- inside the account ------------------------------------------------------------------

    def _timed(self, work: Callable[[], R], stop: Stop = never) -> R:
        """Do work on the account, and add up what it takes; of needs that have to wait, only the
        first look."""
        began, cpu, waited = time.perf_counter(), time.thread_time(), self.account.waited
        waits = self._me.need > 0
        result = self.account.within(work, stop)
        waited = self.account.waited - waited
        took = time.perf_counter() - began - waited
        self.spent.waiting += waited
        if waits and self._me.need:
            self.spent.waiting += took
        else:
            self.spent.own += took
            self.spent.cpu += time.thread_time() - cpu
        return result

    def _others(self) -> list[Member]:
        return [member for member in self.account.members() if member.id != self._me.id]

    def _idle(self) -> int:
        """While it waits, all that this process has: others may need it first."""
        card = self._measure()
        return card.idle if self._me.leased else max(card.idle, card.mine)

    def _put(self, **changes: object) -> None:
        """Change the record. An interruption leaves it to be written again."""
        after = replace(self._me, **changes)  # type: ignore[arg-type]
        if not self._written or after != self._me:
            self._written = False
            self._me = after
            self.account.write(after)
            self._written = True

    def _refresh(self) -> None:
        self._put(idle=self._idle())

    def _end(self) -> None:
        used = time.time() if self._me.leased else self._me.used
        self._me = replace(self._me, leased=0)
        self._written = False
        self._put(need=0, ticket=0, stuck=False, asks={}, idle=self._idle(), used=used)
        self._deaf.clear()
        self.account.ring()

    def _step(self, need: int) -> Verdict:
        others, me, card = self._others(), self._me, self._measure()
        if me.need == 0:
            me = replace(me, ticket=next_ticket(others), since=time.time(), asks={})
        now = time.monotonic()
        late = (id for id in me.asks if now - self._asked_at.get(id, now) > PATIENCE)
        self._deaf.update(late)
        me = replace(me, need=need, leased=0)
        verdict = judge(me, others, card, time.time(), self._deaf)
        if verdict.turn is Turn.GRANTED:
            outside = card.elsewhere(others)
            self._put(
                need=0, ticket=0, stuck=False, asks={},
                leased=need, idle=card.idle, outside=outside,
            )  # fmt: skip
            self._deaf.clear()
            return verdict
        fresh = [id for id, ask in verdict.asks.items() if ask.number > me.asked]
        self._asked_at |= dict.fromkeys(fresh, now)
        self._put(
            need=need, leased=0, ticket=me.ticket, since=me.since,
            idle=max(card.idle, card.mine),
            stuck=verdict.turn is Turn.OUTSIDE,
            asks=verdict.asks, asked=me.asked + bool(fresh),
        )  # fmt: skip
        if fresh:
            self.account.ring()
        return verdict

    # --- waiting -----------------------------------------------------------------------------

    def _nap(self, outside: float | None) -> None:
        """Sleep until somebody rings, or it is time to look.

        outside  seconds already waited for programs outside, which do not ring
        """
        most = LOOK if outside is None else min(LONGEST_LOOK, LOOK + outside / 2)
        until, bell = time.perf_counter() + most * random.uniform(0.5, 1.0), self.account.bell()
        while (now := time.perf_counter()) < until and self.account.bell() == bell:
            time.sleep(min(GLANCE, until - now))

    def _outside(self, need: int) -> DoesNotFit:
        help = "that other programs let go of the card (`acestep doctor` shows which hold it)"
        return DoesNotFit(need, self.room(waiting=True), "this request", help)
