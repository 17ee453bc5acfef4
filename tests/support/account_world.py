"""Processes on one card under random operations and crashes, and what must hold after each.

What a process may have on the card is counted here a second time, in plain sums. A crash ends a
process between any two changes of its files: its descriptors close, its bytes are free at once, and
nothing else of it is done. A fault is an AssertionError.
"""

from __future__ import annotations

import mmap
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from headroom.runtime.arbiter.account import Card, Member, Turn
from headroom.runtime.arbiter.arbiter import Arbiter
from headroom.runtime.arbiter.folder import BELL, LOCK, MUTEX, RECORD, Account, Files

TOTAL = 1000  # bytes of the card
MOST = 4  # processes
CRASHING = 0.1  # of the operations, where they change files at all
OFTEN = ("begin", "again", "use", "end", "look")
KINDS = (*OFTEN * 3, "join", "join", "listen", "expire", "leave", "stranger")
ROUNDS = 40  # in which all that wait must have had their turn, once nothing hinders them


class Crash(BaseException):
    """The process ends here."""


class Breaking(Files):
    """Files whose changes break off: the process ends before the change of number `left`."""

    left: int | None = None

    def _count(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Crash
            self.left -= 1

    def create(self, path: Path) -> int:
        self._count()
        return super().create(path)

    def write(self, descriptor: int, data: bytes) -> None:
        if self.left == 0:
            super().write(descriptor, data[: len(data) // 2])  # torn
        self._count()
        super().write(descriptor, data)

    def count(self, bell: mmap.mmap) -> None:
        self._count()
        super().count(bell)

    def remove(self, path: Path) -> None:
        self._count()
        super().remove(path)


@dataclass
class Process:
    """A process as it is: idle bytes, a need with its place, a lease and how much of it is used."""

    arbiter: Arbiter
    files: Breaking
    idle: int = 0
    need: int = 0
    order: int = 0
    leased: int = 0
    used: int = 0
    alive: bool = True

    @property
    def bytes(self) -> int:
        """On the card."""
        return max(self.idle, self.used) if self.leased else self.idle

    def give_back(self, wanted: int) -> None:
        """Idle bytes leave; those that work uses never do."""
        if not self.leased:
            self.idle = max(0, self.idle - wanted)


@dataclass
class World:
    """A card, its processes, and a program that knows nothing of the account (`stranger`)."""

    folder: Path
    seed: int
    make: Callable[..., Arbiter] = Arbiter
    stranger: int = 0
    processes: list[Process] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._orders = count(1)

    @property
    def free(self) -> int:
        return TOTAL - self.stranger - sum(process.bytes for process in self.processes)

    # --- operations --------------------------------------------------------------------

    def step(self) -> None:
        """One operation, by a process that may crash in it, and the questions."""
        kind = self.rng.choice(KINDS)
        if not self.processes:
            kind = "join"
        crashes = kind not in ("join", "stranger") and self.rng.random() < CRASHING
        self._do(kind, self.rng.randrange(4) if crashes else None)
        self.done[kind] += 1
        self.check()

    def _do(self, kind: str, crash: int | None) -> None:
        if kind == "join":
            if len(self.processes) < MOST:
                self.join()
            return
        if kind == "stranger":
            if all(p.used == p.leased for p in self.processes):  # it takes nothing that is promised
                self.stranger = self.rng.randint(0, min(400, self.stranger + self.free))
            return
        process = self.rng.choice(self.processes)
        process.files.left = crash
        try:
            getattr(self, f"_{kind}")(process)
        except Crash:
            self.done["crash"] += 1
            self.kill(process)
        process.files.left = None

    def join(self) -> Process:
        """A new process."""
        files = Breaking()
        box: list[Process] = []

        def measure() -> Card:
            if not box:
                return Card(TOTAL, self.free)
            mine = box[0].bytes
            return Card(TOTAL, self.free, mine, 0 if box[0].leased else mine)

        priority = self.rng.choice((0, 0, 0, 1))
        arbiter = self.make(
            Account(self.folder, files),
            lambda: self._measured(box[0], measure()),
            lambda wanted: box[0].give_back(wanted),
            Member("", priority=priority),
        )
        box.append(Process(arbiter, files))
        self.processes += box
        return box[0]

    def _measured(self, process: Process, card: Card) -> Card:
        """While a need is judged, the parts that it uses are not idle."""
        return Card(card.total, card.free, card.mine, 0) if process.need else card

    def kill(self, process: Process) -> None:
        """The process ends; the system closes its files and frees its bytes."""
        process.alive = False
        self.processes.remove(process)
        process.arbiter.account.close()

    def _begin(self, process: Process) -> None:
        if not (process.leased or process.need):
            process.need, process.order = self.rng.randint(1, TOTAL), next(self._orders)
            self.ask(process)

    def _again(self, process: Process) -> None:
        if process.need:
            self.ask(process)

    def ask(self, process: Process) -> bool:
        """Look for the need of a process; whether it is granted now."""
        before = {p.arbiter.me.id: p for p in self.processes}
        old = dict(process.arbiter.me.asks)
        verdict = process.arbiter.step(process.need)
        for id, ask in verdict.asks.items():
            if ask != old.get(id):
                holder = before[id]
                assert not holder.leased, "leased bytes were asked for"
                assert ask.bytes <= holder.idle, "more was asked for than is idle"
        if verdict.turn is not Turn.GRANTED:
            return False
        self._in_order(process)
        process.leased, process.need = process.need, 0
        process.used = min(process.idle, process.leased)
        process.idle = min(process.idle, process.leased)  # the rest makes room before the work
        self.done["granted"] += 1
        return True

    def _in_order(self, process: Process) -> None:
        """Nobody who could have had the card was before this one."""
        mine = -process.arbiter.me.priority, process.order
        for other in self.processes:
            deaf = sum(p.idle for p in self.processes if not self._gives(p) and p is not other)
            attainable = other.need <= TOTAL - self.stranger - deaf
            if other.need and attainable and not other.arbiter.me.stuck:
                theirs = -other.arbiter.me.priority, other.order
                assert mine <= theirs, f"{theirs} was before {mine}"

    def _gives(self, process: Process) -> bool:
        return bool(process.leased or process.need or process.arbiter.me.listens)

    def _use(self, process: Process) -> None:
        if process.leased:
            process.used = self.rng.randint(process.used, process.leased)
            process.idle = 0
            assert self.free >= 0, f"out of memory by {-self.free}"

    def _end(self, process: Process) -> None:
        if process.leased:
            self.use_all(process)
            process.idle = self.rng.randint(0, process.leased)
            process.leased = process.used = 0
            process.arbiter.end()
        elif process.need and self.rng.random() < 0.3:  # given up
            process.need = 0
            process.arbiter.end()

    def use_all(self, process: Process) -> None:
        """The work takes all that it may."""
        process.used, process.idle = process.leased, 0
        assert self.free >= 0, f"out of memory by {-self.free}"

    def _look(self, process: Process) -> None:
        if process.need or process.arbiter.me.listens:
            process.arbiter.look()

    def _listen(self, process: Process) -> None:
        process.arbiter.listens(self.rng.random() < 0.8)

    def _expire(self, process: Process) -> None:
        if not process.leased:
            process.idle = 0
            process.arbiter.refresh()

    def _leave(self, process: Process) -> None:
        if not process.leased and self.rng.random() < 0.2:
            process.arbiter.close()
            self.processes.remove(process)

    # --- what must hold ----------------------------------------------------------------

    def check(self) -> None:
        """The card has room for what is on it; the account tells what is; the dead are gone."""
        assert self.free >= 0, f"out of memory by {-self.free}"
        if not self.processes:
            return
        first = self.processes[0].arbiter
        told = {member.id: member for member in (first.me, *first.others())}
        living = {p.arbiter.me.id: p for p in self.processes}
        assert told.keys() == living.keys(), "the dead are in the account, or the living are not"
        names = {path.name for path in self.folder.iterdir()} - {MUTEX, BELL}
        assert names == {f"{id}{end}" for id in living for end in (LOCK, RECORD)}, names
        for id, process in living.items():
            assert told[id].leased == process.leased and told[id].need == process.need
            if not process.leased:
                assert told[id].idle == process.idle, (told[id].idle, process.idle)

    def drain(self) -> None:
        """All work ends and the stranger goes: whoever waits has its turn."""
        self.stranger = 0
        for process in self.processes:
            process.arbiter.listens(True)
            if process.leased:
                self._end(process)
        for _ in range(ROUNDS):
            for process in self.processes:
                process.arbiter.look()
                if process.need and self.ask(process):
                    self._end(process)
                self.check()
        waiting = [process.order for process in self.processes if process.need]
        assert not waiting, f"{len(waiting)} wait for ever"
        self.done["drained"] += 1

    def finish(self) -> None:
        """All leave: nothing is left of them."""
        self.drain()
        for process in self.processes:
            process.arbiter.close()
        assert {path.name for path in self.folder.iterdir()} <= {MUTEX, BELL}
