"""Tokens and seconds of decoding, counted while it runs. Torch is not imported here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from headroom.lm.constraint import Constraint


@dataclass(frozen=True, slots=True)
class TokenTiming:
    """Tokens a language model read and wrote, and the seconds of each; none is counted twice.

    songs    written at once, in `rows` of a cache: one for each, or two with guidance
    read     prompt tokens, until the first token was sampled: `reading` seconds
    drawn    sampled tokens of all songs; `forced`: those a grammar wrote without the model
    writing  seconds after that
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
        """Whether each song has a second row, for guidance."""
        return self.rows > self.songs


class TokenStopwatch:
    """Times one decoding job: starts when created; call `read` once the prompts are read."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._read: float | None = None
        self.grammar = 0.0

    def read(self) -> None:
        """Mark the prompts as read; later calls change nothing."""
        if self._read is None:
            self._read = time.perf_counter() - self.grammar

    def timing(self, songs: int, rows: int, read: int, drawn: int, forced: int = 0) -> TokenTiming:
        """The timing of the whole job, which has ended."""
        ended = time.perf_counter() - self.grammar
        middle = ended if self._read is None else self._read
        reading, writing = middle - self._began, ended - middle
        return TokenTiming(songs, rows, read, drawn, forced, reading, writing, self.grammar)

    def watching(
        self, settle: Callable[[], None], progress: Callable[[int, int], None]
    ) -> Callable[[int, int], None]:
        """`progress`, which also calls `read` when a loop that never waits for the device begins
        to write: only then the host waits, once, for the prompts."""

        def tell(done: int, total: int) -> None:
            if done == 0:
                settle()
                self.read()
            progress(done, total)

        return tell


class TimedGrammar:
    """A grammar whose calls are timed."""

    def __init__(self, grammar: Constraint, stopwatch: TokenStopwatch) -> None:
        self._grammar, self._stopwatch = grammar, stopwatch

    @property
    def done(self) -> bool:
        """As the grammar says."""
        return self._grammar.done

    def forced(self) -> tuple[int, ...]:
        """As the grammar says."""
        began = time.perf_counter()
        tokens = self._grammar.forced()
        self._stopwatch.grammar += time.perf_counter() - began
        return tokens

    def allowed(self) -> Tensor:
        """As the grammar says."""
        began = time.perf_counter()
        ids = self._grammar.allowed()
        self._stopwatch.grammar += time.perf_counter() - began
        return ids

    def take(self, token: int) -> None:
        """Tell the grammar."""
        began = time.perf_counter()
        self._grammar.take(token)
        self._stopwatch.grammar += time.perf_counter() - began
