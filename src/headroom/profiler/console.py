"""The profiler's output channels: results on standard output, messages on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from headroom.params.clamp import Note
from headroom.runtime.events import Stop, Tell, never, tell_nobody


@dataclass(frozen=True, slots=True)
class Console:
    """Prints results to standard output and messages to standard error.

    tell  receives the events of runs that are not measured
    stop  is polled to learn whether to end
    """

    tell: Tell = tell_nobody
    stop: Stop = never
    _known: set[str] = field(default_factory=set)

    def out(self, text: str) -> None:
        """Print a result."""
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()

    def say(self, line: str) -> None:
        """Print a message."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def once(self, line: str) -> None:
        """Print a message, unless it was printed before."""
        if line not in self._known:
            self._known.add(line)
            self.say(line)

    def notes(self, notes: Iterable[Note]) -> None:
        """Print the notes on what differs from the request, each only once."""
        for note in notes:
            self.once(f"note: {note.sentence()}")
