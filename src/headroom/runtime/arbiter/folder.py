"""The account of one card as files: a record and a lock for each member, and a lock around changes.

A member writes its own record only, and what is in it counts only while the member lives, so a
process may end between any two changes and leave an account that is right for those that remain.
Its lock falls with it, and whoever reads the account next removes what it left; a process id would
not tell the living from the dead across containers. Records are written in place: on a disk, a new
file in the place of the last costs milliseconds.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from headroom.errors import Cancelled
from headroom.file_locks import opened, try_lock, unlock
from headroom.runtime.arbiter.account import Member
from headroom.runtime.turn import Turn

FIRST_NAP, LONGEST_NAP = 0.0002, 0.004  # seconds between two tries for the lock around changes
LOCK, RECORD, MUTEX, BELL = ".lock", ".json", "mutex", "bell"
_NUMBER = struct.Struct("<q")
_RECORDS = TypeAdapter(Member)
R = TypeVar("R")


class AccountLost(Exception):
    """The folder of the account cannot be used any more."""


class Files:
    """The changes that are made to the folder, each a single step."""

    def create(self, path: Path) -> int:
        """A descriptor of a file, created where there is none."""
        return opened(path)

    def write(self, descriptor: int, data: bytes) -> None:
        """Put data at the beginning of a file."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, data)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    def count(self, bell: mmap.mmap) -> None:
        """Raise the number of the bell by one."""
        _NUMBER.pack_into(bell, 0, (_NUMBER.unpack_from(bell)[0] + 1) % (1 << 63))


def place_of(root: Path, card: str) -> Path:
    """The folder of a card below the folder of all accounts; `card` is its identity."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", card).strip("-.")[:60]
    return root / f"{plain}-{sha256(card.encode()).hexdigest()[:8]}"


class Account:
    """The account of a card. Everything in it is done `within`, but for `bell`.

    Raises OSError if the folder cannot be used.
    """

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        self.folder, self._files = folder, files or Files()
        folder.mkdir(parents=True, exist_ok=True)
        self._mutex = opened(folder / MUTEX)
        bell = opened(folder / BELL)
        try:
            if os.fstat(bell).st_size < _NUMBER.size:
                os.ftruncate(bell, _NUMBER.size)
            self._bell = mmap.mmap(bell, _NUMBER.size)
        finally:
            os.close(bell)
        self._turn = Turn()  # of the threads of this process, which share the lock
        self._locks: dict[str, int] = {}  # of the members that this process is
        self._records: dict[str, int] = {}
        self._lengths: dict[str, int] = {}
        self.waited = 0.0  # seconds, for the lock around changes

    def within(self, work: Callable[[], R], stop: Callable[[], bool] = bool) -> R:
        """Do work while no other process or thread changes the account.

        Raises Cancelled if `stop` says so before it begins, and AccountLost.
        """
        with self._turn:
            try:
                self._wait(stop)
                return work()
            except OSError as error:
                raise AccountLost(str(error)) from error
            finally:
                unlock(self._mutex)

    def _wait(self, stop: Callable[[], bool]) -> None:
        began, nap = time.perf_counter(), FIRST_NAP
        while not try_lock(self._mutex):
            if stop():
                raise Cancelled("stopped while another process held the account of the card")
            time.sleep(nap)
            nap = min(2 * nap, LONGEST_NAP)
        self.waited += time.perf_counter() - began

    def join(self, member: Member) -> None:
        """Become a member, until `leave` or the end of the process."""
        lock = self._locks[member.id] = self._files.create(self.folder / f"{member.id}{LOCK}")
        try_lock(lock)
        self._records[member.id] = self._files.create(self.folder / f"{member.id}{RECORD}")
        self.write(member)

    def leave(self, id: str) -> None:
        """Be a member no more; harmless if it is none."""
        held = [kept.pop(id) for kept in (self._records, self._locks) if id in kept]
        for descriptor in held:
            os.close(descriptor)
        if held:
            self._bury(id)

    def write(self, member: Member) -> None:
        """Put the record of a member that this process is in place of the last one."""
        data = _RECORDS.dump_json(member)
        longest = self._lengths[member.id] = max(len(data), self._lengths.get(member.id, 0))
        self._files.write(self._records[member.id], data.ljust(longest))

    def members(self) -> list[Member]:
        """All members that live; what the dead have left is removed."""
        with os.scandir(self.folder) as entries:
            names = {entry.name for entry in entries}
        ids = {name.rpartition(".")[0] for name in names if name.endswith((LOCK, RECORD))}
        living = []
        for id in sorted(ids):
            if not self._lives(id, f"{id}{LOCK}" in names):
                self._bury(id)
            elif (member := self._read(id)) is not None:
                living.append(member)
        return living

    def ring(self) -> None:
        """Let those who wait or listen look at the account."""
        self._files.count(self._bell)

    def bell(self) -> int:
        """Differs after each `ring`; needs no lock."""
        number: int = _NUMBER.unpack_from(self._bell)[0]
        return number

    def close(self) -> None:
        """Let go of all files, as the end of the process would."""
        for descriptor in (*self._records.values(), *self._locks.values(), self._mutex):
            os.close(descriptor)
        self._records.clear()
        self._locks.clear()

    def _lives(self, id: str, locked: bool) -> bool:
        if id in self._locks:
            return True
        if not locked:
            return False
        try:
            lock = opened(self.folder / f"{id}{LOCK}")
        except PermissionError:  # another user's, or on its way out
            return True
        try:
            return not try_lock(lock)
        finally:
            os.close(lock)

    def _bury(self, id: str) -> None:
        for end in (RECORD, LOCK):  # either of them that is left is found again
            with suppress(PermissionError):
                self._files.remove(self.folder / f"{id}{end}")

    def _read(self, id: str) -> Member | None:
        """None for a record of another version: what it says counts as lying elsewhere."""
        try:
            return _RECORDS.validate_json((self.folder / f"{id}{RECORD}").read_bytes())
        except (OSError, ValidationError):
            return None
