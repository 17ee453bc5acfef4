"""Prints notes: what differs from what was asked, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from headroom.params.note import Note


def tell_notes(notes: Iterable[Note], shown_notes: set[str]) -> None:
    """Print each note once, on standard error."""
    for note in notes:
        sentence = note.sentence()
        if sentence not in shown_notes:
            shown_notes.add(sentence)
            sys.stderr.write(f"note: {sentence}\n")
    sys.stderr.flush()
