"""What an engine process is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headroom.engine.options import EngineOptions
from headroom.service.seat import Seat
from headroom.settings import Settings

SEAT_TAKEN = 75  # the exit code of an engine process whose card another one works on


@dataclass(frozen=True, slots=True)
class EngineStart:
    """What an engine process is started with.

    database    path or URL
    storage     folder or URL; `staging`: folder for files on their way into a bucket
    free_bytes  of the disk, below which nothing is stored
    holder      its name in the database, which no other process has, ever
    options     of its engines; `device` is the card, whose identity on this machine is `card`
    seats       folder of the locks that keep others from the card
    """

    database: str | Path
    storage: str | Path
    staging: Path
    free_bytes: int
    holder: str
    card: str
    seats: Path
    options: EngineOptions
    settings: Settings

    def seat(self) -> Seat:
        """The right to be the only one that works on this card for this database."""
        where = str(self.database).removeprefix("sqlite:///")
        same = where if "://" in where else str(Path(where).absolute())
        return Seat(self.seats, same, self.card)
