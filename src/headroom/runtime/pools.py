"""The parts of an engine on a group of cards: a pool for each card, and each part in one of them.

A part that a plan puts on another card takes its host copy along: it is not loaded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from headroom.runtime.card import Card
from headroom.runtime.entry import State
from headroom.runtime.pool import Loaders, PartStatus, Pool


class Pools:
    """The pools of an engine, in the order of its cards; one pool where there is one card.

    owner  the family and the model, by which the ledgers name the parts
    """

    def __init__(self, cards: Sequence[Card], loaders: Loaders, owner: tuple[str, str]) -> None:
        self.each = tuple(Pool(card, loaders, owner=owner) for card in cards)

    def holding(self, names: Iterable[str], card: int) -> Pool:
        """The pool of a card, once it has taken these parts over from the others that hold them.
        Call only in the turn of all cards."""
        pool, wanted = self.each[card], frozenset(names)
        for other in self.each:
            if other is pool:
                continue
            for name in sorted(other.loaded & wanted):
                pool.take_over(name, other)
        return pool

    def status(self) -> tuple[PartStatus, ...]:
        """Every part the model has, as it is now, on the card that holds it."""
        known: dict[str, PartStatus] = {}
        for number, pool in enumerate(self.each):
            for part in pool.status():
                if part.name not in known or part.state is not State.ABSENT:
                    known[part.name] = replace(part, card=number)
        return tuple(known.values())

    def offload(self, name: str | None = None) -> None:
        """Take a part, or all of them, off the cards; a leased part leaves when given back."""
        self._all(lambda pool: pool.offload(name))

    def release(self, name: str | None = None) -> None:
        """Unload a part, or all of them: nothing stays on a card or in host memory."""
        self._all(lambda pool: pool.release(name))

    def _all(self, work: Callable[[Pool], None]) -> None:
        for pool in self.each:
            work(pool)
