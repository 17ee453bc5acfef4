"""The two clocks that jobs need, as one value that tests can replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """`wall`: seconds since 1970, for what people read and for ages; it may be set back.
    `steady`: seconds that only ever grow, for whether a worker is alive; of one process only."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


SYSTEM = Clock()
