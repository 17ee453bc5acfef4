"""What writing took: tokens and seconds, counted while it goes on. No torch is loaded here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from headroom.lm.constraint import Constraint


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens that a language model read and wrote, and the seconds of each; none is counted twice.

    songs    written at once, in `rows` of a cache: one for each, or two where they are guided
    read     tokens of prompts, until the first was drawn: `reading` seconds
    drawn    tokens, of all songs; `forced`: those that a grammar wrote without asking the model
    writing  seconds from there on
    grammar  seconds in the grammar, which says what may come next
    """

    songs: int
    rows: int
    read: int
    drawn: int
    forced: int
    reading: float
    writing: float
    grammar: float = 0.0

    @property
    def guided(self) -> bool:
        """Whether a second row goes with each song."""
        return self.rows > self.songs


class Laps:
    """A watch over one piece of writing: started when made, `read` once the prompts are read."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._read: float | None = None
        self.grammar = 0.0

    def read(self) -> None:
        """The prompts are read; what is said later changes nothing."""
        if self._read is None:
            self._read = time.perf_counter() - self.grammar

    def spent(self, songs: int, rows: int, read: int, drawn: int, forced: int = 0) -> Spent:
        """All of it, now that it is over."""
        ended = time.perf_counter() - self.grammar
        middle = ended if self._read is None else self._read
        reading, writing = middle - self._began, ended - middle
        return Spent(songs, rows, read, drawn, forced, reading, writing, self.grammar)

    def told(
        self, settle: Callable[[], None], progress: Callable[[int, int], None]
    ) -> Callable[[int, int], None]:
        """`progress`, and the lap when a loop that asks the device nothing begins to write: only
        then the host waits, once, for what was read."""

        def tell(done: int, total: int) -> None:
            if done == 0:
                settle()
                self.read()
            progress(done, total)

        return tell


class Timed:
    """A grammar whose seconds are counted."""

    def __init__(self, grammar: Constraint, laps: Laps) -> None:
        self._grammar, self._laps = grammar, laps

    @property
    def done(self) -> bool:
        """As the grammar says."""
        return self._grammar.done

    def forced(self) -> tuple[int, ...]:
        """As the grammar says."""
        began = time.perf_counter()
        found = self._grammar.forced()
        self._laps.grammar += time.perf_counter() - began
        return found

    def allowed(self) -> Tensor:
        """As the grammar says."""
        began = time.perf_counter()
        found = self._grammar.allowed()
        self._laps.grammar += time.perf_counter() - began
        return found

    def take(self, token: int) -> None:
        """Tell the grammar."""
        began = time.perf_counter()
        self._grammar.take(token)
        self._laps.grammar += time.perf_counter() - began
