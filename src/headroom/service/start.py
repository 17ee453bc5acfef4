"""What an engine process is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headroom.engine.options import EngineOptions
from headroom.service.seat import Seat, Seats
from headroom.settings import Settings

SEAT_TAKEN = 75  # the exit code of an engine process whose card another one works on


@dataclass(frozen=True, slots=True)
class EngineStart:
    """What an engine process is started with.

    database    path or URL
    storage     folder or URL; `staging`: folder for files on their way into a bucket
    free_bytes  of the disk, below which nothing is stored
    holder      its name in the database, which no other process has, ever
    options     of its engines; `device` is the card or the group of cards, whose identities on this
                machine are `cards`
    seats       folder of the locks that keep others from the cards
    """

    database: str | Path
    storage: str | Path
    staging: Path
    free_bytes: int
    holder: str
    cards: tuple[str, ...]
    seats: Path
    options: EngineOptions
    settings: Settings

    def seat(self) -> Seats:
        """The right to be the only one that works on these cards for this database."""
        where = str(self.database).removeprefix("sqlite:///")
        same = where if "://" in where else str(Path(where).absolute())
        return Seats([Seat(self.seats, same, card) for card in sorted({*self.cards})])
