"""The right to be the one engine process of its cards for a database, among those of a machine.

It is a lock of the operating system on a file, which ends with its process, however that ends. The
name of the last holder stands beside it, so that whoever comes next knows at once who is dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

_PATIENCE = 5.0  # seconds for another process that only looks whether the seat is free


class Seat:
    """The seat of a card, by its identity, for a database, by its path or URL."""

    def __init__(self, folder: Path, database: str, card: str) -> None:
        digest = sha256(f"{database}\n{card}".encode()).hexdigest()[:20]
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / f"engine-{digest}.lock")
        self._holder = folder / f"engine-{digest}.holder"

    def is_free(self) -> bool:
        """Whether no process has it."""
        try:
            with self._lock.acquire(blocking=False):
                return True
        except Timeout:
            return False

    def take(self, holder: str) -> str | None:
        """Take the seat, until `leave` or the end of the process. The name of the last holder,
        which is dead, or an empty text; None: another process has the seat."""
        return self.follow(holder) if self.lock() else None

    def lock(self) -> bool:
        """Take the seat without a name, as `take` does; whether no other process has it."""
        try:
            self._lock.acquire(timeout=_PATIENCE)
        except Timeout:
            return False
        return True

    def follow(self, holder: str) -> str:
        """Name the holder of a seat that was taken; the name of the last one."""
        before = ""
        with suppress(OSError, UnicodeDecodeError):
            before = self._holder.read_text("utf-8")
        with suppress(OSError):  # a full disk: the successor waits for the heartbeats instead
            self._holder.write_text(holder, "utf-8")
        return before

    def leave(self) -> None:
        self._lock.release()


class Seats:
    """The seats of all cards of a group, which are taken together or not at all."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = tuple(seats)

    def is_free(self) -> bool:
        """Whether no process has any of them."""
        return all(seat.is_free() for seat in self._seats)

    def take(self, holder: str) -> tuple[str, ...] | None:
        """Take the seats, until `leave` or the end of the process. The names of their last holders,
        which are dead; None: another process has one of them, and none is taken."""
        for number, seat in enumerate(self._seats):
            if not seat.lock():
                for taken in self._seats[:number]:
                    taken.leave()
                return None
        # Only now: the names of the dead would be lost with a seat that is given back.
        before = [seat.follow(holder) for seat in self._seats]
        return tuple(dict.fromkeys(name for name in before if name))

    def leave(self) -> None:
        for seat in self._seats:
            seat.leave()
