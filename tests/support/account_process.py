"""A process without torch that leases bytes of a card again and again: `python -m`, with a folder,
its place, how many leases, and a seed. It ends with 1 where the card has ever more than its bytes.

What is on the card stands in a table that all processes map; each adds what it takes and looks.
"""

from __future__ import annotations

import mmap
import os
import random
import struct
import sys
import time
from pathlib import Path

from headroom.runtime.arbiter.account import Card
from headroom.runtime.arbiter.arbiter import Arbiter
from headroom.runtime.arbiter.folder import Account

PLACES, TOTAL = 8, 1000
_NUMBER = struct.Struct("<q")


class Table:
    """The bytes of each process; `sum` is what is on the card."""

    def __init__(self, file: Path, place: int) -> None:
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), PLACES * _NUMBER.size)
        self._place = place

    @property
    def sum(self) -> int:
        return sum(n for (n,) in _NUMBER.iter_unpack(self._map[:]))

    @property
    def mine(self) -> int:
        number: int = _NUMBER.unpack_from(self._map, self._place * _NUMBER.size)[0]
        return number

    @mine.setter
    def mine(self, number: int) -> None:
        _NUMBER.pack_into(self._map, self._place * _NUMBER.size, number)


def main(folder: str, place: str, leases: str, seed: str) -> None:
    """Lease, take, look, keep something, end."""
    rng, table = random.Random(int(seed)), Table(Path(folder) / "table", int(place))

    def measure() -> Card:
        time.sleep(0.003)  # within the account: the others would come between, if they could
        free = max(0, TOTAL - table.sum)
        return Card(TOTAL, free, table.mine, 0 if working else table.mine)

    def give_back(wanted: int) -> None:
        table.mine = max(0, table.mine - wanted)

    working = False
    arbiter = Arbiter(Account(Path(folder) / "account"), measure, give_back)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(leases)):
        need = rng.randint(600, 900)
        working = True
        arbiter.lease(need, patience=60.0)
        table.mine = need
        if table.sum > TOTAL:
            print(f"{table.sum} bytes on the card", flush=True)
            os._exit(1)
        time.sleep(rng.uniform(0, 0.002))
        table.mine = rng.choice((0, 0, 0, need // 2))
        working = False
        arbiter.end()
        arbiter.look()
        time.sleep(rng.uniform(0, 0.02))  # so that two often begin at the same time
    table.mine = 0
    arbiter.close()
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
