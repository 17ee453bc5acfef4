"""The account of one card as values, and the rules by which its bytes are given out.

Nothing here reads a file or a clock, so every process comes to the same verdict from the same
records. Bytes of a card belong to members (processes that keep the account), or lie elsewhere:
with programs that know nothing of it, and with drivers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

AGEING = 30.0  # seconds of waiting that count as one step of priority


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to give idle bytes back: its running number at the asker, and how many bytes."""

    number: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Member:
    """One process on a card, as its own record tells. Bytes, and seconds of the wall clock.

    id        random; names its files
    name      for people, as are `pid` and `host`: whether it lives is told by its lock only
    budget    the most it may use
    idle      bytes that it holds and that no work uses
    leased    bytes reserved for the work it does
    context   bytes that its driver takes beside those
    outside   bytes that no member claimed when its lease was granted
    listens   whether it gives idle bytes back when asked
    used      when its last work ended
    need      bytes it waits for; 0: it does not wait
    ticket    order of the needs; `since`: when it began to wait; `priority`: higher goes first
    stuck     what it needs is held by programs outside the account: others need not wait for it
    asks      of other members, by id; `answers`: the last number answered, by the id of the asker
    asked     number of its last ask
    """

    id: str
    name: str = ""
    pid: int = 0
    host: str = ""
    budget: int = 0
    idle: int = 0
    leased: int = 0
    context: int = 0
    outside: int = 0
    listens: bool = False
    used: float = 0.0
    need: int = 0
    ticket: int = 0
    since: float = 0.0
    priority: int = 0
    stuck: bool = False
    asked: int = 0
    asks: Mapping[str, Ask] = field(default_factory=dict)
    answers: Mapping[str, int] = field(default_factory=dict)

    @property
    def claim(self) -> int:
        """Bytes of the card that are this member's."""
        return self.context + self.idle + self.leased

    @property
    def gives(self) -> int:
        """Bytes that it would give back if asked: a member that waits looks at the account too."""
        return self.idle if self.listens or self.need else 0


@dataclass(frozen=True, slots=True)
class Card:
    """A card as one process measures it, in bytes.

    total what all processes together may use, less what the driver takes for this one
    free  unused, including what is in reserve for this process only
    mine  the live bytes of its parts
    idle  what it holds and no work uses or is about to use, its reserve included
    """

    total: int
    free: int
    mine: int = 0
    idle: int = 0

    def elsewhere(self, others: Iterable[Member]) -> int:
        """Bytes in use that no member claims.

        They cannot be told from bytes that somebody has leased and not taken yet, so what was there
        when that lease was granted counts until it ends.
        """
        seen = [self.total - self.free - self.mine - sum(other.claim for other in others)]
        seen += [other.outside for other in others if other.leased]
        return max(0, *seen)

    def room(self, others: Sequence[Member], *, asking: bool = False, waiting: bool = False) -> int:
        """Bytes that this process could lease, its own parts included; no more than are free.

        asking   those too that members would give back if asked
        waiting  those too that are leased to others now
        """
        room = self.total - self.elsewhere(others)
        for other in others:
            coming = (other.gives if asking else 0) + (other.leased if waiting else 0)
            room -= other.claim - coming
        return room


class Turn(Enum):
    """What a need comes to."""

    GRANTED = "granted"
    QUEUED = "others are before it"
    LEASED = "others are at work with the bytes"
    ASKED = "idle bytes are on their way"
    OUTSIDE = "programs outside the account hold the bytes"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a need now: its turn, who is before it, and the asks to post."""

    turn: Turn
    ahead: int = 0
    asks: Mapping[str, Ask] = field(default_factory=dict)


def rank(member: Member, now: float) -> tuple[float, int]:
    """The place of a need among needs, lower first: by priority, which grows with age, and by
    ticket."""
    waited = max(0.0, now - member.since)
    return -(member.priority + waited // AGEING), member.ticket


def before(me: Member, others: Iterable[Member], now: float) -> list[Member]:
    """The members whose needs come before this one."""
    mine = rank(me, now)
    return [one for one in others if one.need and not one.stuck and rank(one, now) < mine]


def next_ticket(members: Iterable[Member]) -> int:
    """A ticket behind all that wait."""
    return 1 + max((member.ticket for member in members if member.need), default=0)


def open_asks(me: Member, others: Iterable[Member]) -> dict[str, Ask]:
    """The asks of this member that their holders have not answered yet."""
    known = {other.id: other for other in others}
    return {
        id: ask
        for id, ask in me.asks.items()
        if id in known and known[id].answers.get(me.id, 0) < ask.number
    }


def judge(
    me: Member, others: Sequence[Member], card: Card, now: float, deaf: Collection[str] = ()
) -> Verdict:
    """What becomes of the need of `me`, which has a ticket.

    deaf  members that did not answer in time, and are not asked again for this need

    Granted only if nobody claims the bytes and they are free on the card. Leased bytes are never
    asked for; of idle ones no more than are missing, from who used them longest ago.
    """
    holders = [other for other in others if other.gives and other.id not in deaf]
    obtainable = sum(holder.gives for holder in holders)
    ahead = before(me, others, now)
    wants = me.need + card.idle
    if wants > card.room(others, waiting=True) + obtainable:
        return Verdict(Turn.OUTSIDE, len(ahead))
    if ahead:
        return Verdict(Turn.QUEUED, len(ahead))
    missing = wants - card.room(others)
    if missing <= 0:
        return Verdict(Turn.GRANTED)
    pending = open_asks(me, others)
    if any(id not in deaf for id in pending):
        return Verdict(Turn.ASKED, asks=pending)
    if missing > obtainable:
        return Verdict(Turn.LEASED)
    asks: dict[str, Ask] = {}
    for holder in sorted(holders, key=lambda one: (one.used, one.id)):
        if missing > 0:
            asks[holder.id] = Ask(me.asked + 1, min(missing, holder.gives))
            missing -= holder.gives
    return Verdict(Turn.ASKED, asks=asks)


def asked_of(me: Member, others: Iterable[Member]) -> dict[str, Ask]:
    """What other members ask of this one and have no answer to yet, by their id."""
    return {
        other.id: other.asks[me.id]
        for other in others
        if me.id in other.asks and me.answers.get(other.id, 0) < other.asks[me.id].number
    }
