"""Who is spoken to while something is measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from headroom.params.clamp import Note
from headroom.runtime.events import Stop, Tell, never, tell_nobody


@dataclass(frozen=True, slots=True)
class Face:
    """Results go to standard output, what is said on the way to standard error.

    tell  hears what happens in runs that are not measured
    stop  is asked whether to end
    """

    tell: Tell = tell_nobody
    stop: Stop = never
    _known: set[str] = field(default_factory=set)

    def out(self, text: str) -> None:
        """A result."""
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()

    def say(self, line: str) -> None:
        """A word on the way."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def once(self, line: str) -> None:
        """A word that is said once only."""
        if line not in self._known:
            self._known.add(line)
            self.say(line)

    def notes(self, notes: Iterable[Note]) -> None:
        """What differs from the request, each once."""
        for note in notes:
            self.once(f"note: {note.sentence()}")
