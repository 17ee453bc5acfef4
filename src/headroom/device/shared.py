"""A simulated card that several processes use at once: the live bytes of all count against it.

It stands for what a driver does on a real card, and knows nothing of how processes share one. A
table in a file has the bytes of each process; a lock of the operating system marks its place as
taken, so what a process has goes with it, however it ends.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from headroom.device.simulated import SimulatedDevice
from headroom.errors import InvalidRequest
from headroom.file_locks import opened, try_lock, unlock

PLACES = 64  # processes at a time
_NUMBER = struct.Struct("<q")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
R = TypeVar("R")


class SharedDevice(SimulatedDevice):
    """The simulated card of a name, in a folder that all its processes reach.

    total  bytes of the card; that of the first process holds for all that are there at a time

    Raises OSError if the folder cannot be used, InvalidRequest if too many processes use the card.
    """

    def __init__(self, name: str, folder: Path, total: int, *, fake: bool = False) -> None:
        self._place, self._seat = -1, -1
        super().__init__(total, fake=fake)
        self.name, self.identity = f"the simulated card {name}", f"simulated {name}"
        self._folder = folder / f"simulated-{name}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._mutex = opened(self._folder / "mutex")
        self._mine = threading.RLock()
        size = (PLACES + 1) * _NUMBER.size  # the last number is the size of the card
        table = opened(self._folder / "table")
        try:
            if os.fstat(table).st_size < size:
                os.ftruncate(table, size)
            self._table = mmap.mmap(table, size)
        finally:
            os.close(table)
        self._alone(self._sit)
        weakref.finalize(self, _close, self._mutex, self._seat)

    def allocate(self, storage: torch.UntypedStorage) -> None:
        """Count a storage once, until it is freed, and refuse it if the card has no room."""

        def counted() -> None:
            try:
                super(SharedDevice, self).allocate(storage)
            except torch.OutOfMemoryError:
                if not self._clear():
                    raise
                super(SharedDevice, self).allocate(storage)

        self._alone(counted)

    def free_memory(self) -> int:
        """Bytes that no process uses."""

        def free() -> int:
            self._clear()
            return super(SharedDevice, self).free_memory()

        return self._alone(free)

    def _room(self) -> int:
        """What this process may have in all."""
        others = sum(self._get(place) for place in range(PLACES) if place != self._place)
        return min(super()._room(), self._total - others)

    @property
    def _allocated(self) -> int:
        return self._get(self._place) if self._place >= 0 else 0

    @_allocated.setter
    def _allocated(self, number: int) -> None:
        if self._place >= 0:
            self._put(self._place, number)

    # --- the table ----------------------------------------------------------------------

    def _alone(self, work: Callable[[], R]) -> R:
        """Do work while no other process changes the table."""
        with self._mine:
            try:
                while not try_lock(self._mutex):
                    time.sleep(0.0001)
                return work()
            finally:
                unlock(self._mutex)

    def _sit(self) -> None:
        """Take a place; the first process also tells the size of the card."""
        free = []
        for place in range(PLACES):
            seat = opened(self._folder / f"place-{place}")
            if try_lock(seat):
                free.append((place, seat))
            else:
                os.close(seat)
        if not free:
            raise InvalidRequest("device", self.name, f"used by at most {PLACES} processes")
        if len(free) == PLACES:
            self._put(PLACES, self._total)
        self._total = self._get(PLACES)
        for place, seat in free:
            self._put(place, 0)
            if self._place < 0:
                self._place, self._seat = place, seat
            else:
                os.close(seat)

    def _clear(self) -> bool:
        """Forget what the dead have left; whether there was anything."""
        found = False
        for place in range(PLACES):
            if place != self._place and self._get(place):
                seat = opened(self._folder / f"place-{place}")
                if try_lock(seat):
                    self._put(place, 0)
                    found = True
                os.close(seat)
        return found

    def _get(self, place: int) -> int:
        number: int = _NUMBER.unpack_from(self._table, place * _NUMBER.size)[0]
        return number

    def _put(self, place: int, number: int) -> None:
        _NUMBER.pack_into(self._table, place * _NUMBER.size, number)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
