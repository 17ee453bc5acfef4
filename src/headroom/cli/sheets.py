"""The commands that print something other than songs: a song sheet, a score, codes, times."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from headroom.cli import sheet_flags
from headroom.cli.far import opened
from headroom.cli.notes import tell_notes
from headroom.cli.progress import shown, stoppable
from headroom.cli.sheet_flags import ALIGN, COMPOSE, ENCODE, SCORE, UNDERSTAND, Command
from headroom.models.outputs import AudioCodes, FitScore, SongSheet, Timestamps
from headroom.params.clamp import Note
from headroom.params.request import Request

NO_LYRICS = "(no lyrics)"
SEED = "seed"


def compose(words: Sequence[str]) -> int:
    """`acestep compose …`: a song sheet from one line; with --lyrics, both rewritten."""
    return _answer(COMPOSE, words)


def understand(words: Sequence[str]) -> int:
    """`acestep understand …`: a description of a recording or of audio codes."""
    return _answer(UNDERSTAND, words)


def score(words: Sequence[str]) -> int:
    """`acestep score …`: how well a recording, or codes, fit their description."""
    return _answer(SCORE, words)


def encode(words: Sequence[str]) -> int:
    """`acestep encode …`: the audio codes of a recording."""
    return _answer(ENCODE, words)


def align(words: Sequence[str]) -> int:
    """`acestep align …`: when the lines of lyrics are sung in a recording."""
    return _answer(ALIGN, words)


def _answer(command: Command, words: Sequence[str]) -> int:
    """Open an engine, perform the request, and print the answer."""
    order = sheet_flags.asked(command, words)
    shown_notes: set[str] = set()
    with (
        stoppable() as stop,
        opened(order.flags, order.settings) as engine,
        shown(order.quiet, not order.settings.no_progress) as tell,
    ):
        if not order.quiet:
            tell_notes(engine.notes, shown_notes)
        result = engine.perform(order.request, tell, stop)
    if order.json:
        whole = {**_as_json(result.output, result.request), "notes": _notes_json(result.notes)}
        sys.stdout.write(json.dumps(whole, indent=1, ensure_ascii=False, default=str) + "\n")
        return 0
    if not order.quiet:
        tell_notes(result.notes, shown_notes)
    sys.stdout.write(_as_text(result.output))
    return 0


def _notes_json(notes: Iterable[Note]) -> list[dict[str, object]]:
    return [{**asdict(note), "sentence": note.sentence()} for note in notes]


def _as_json(output: object, request: Request) -> dict[str, object]:
    assert isinstance(output, SongSheet | FitScore | Timestamps | AudioCodes)
    values = {name: value for name, value in asdict(output).items() if name != "notes"}
    if isinstance(output, SongSheet):
        return {"song": values, SEED: getattr(request, SEED)}
    return values


def _as_text(output: object) -> str:
    if isinstance(output, FitScore):
        lines = [f"{name:<14} {value:.3f}" for name, value in output.parts.items()]
        return "\n".join([*lines, f"{'reward':<14} {output.reward:.3f}"]) + "\n"
    if isinstance(output, Timestamps):
        return output.lrc
    if isinstance(output, AudioCodes):
        return output.text + "\n"
    assert isinstance(output, SongSheet)
    names = ("bpm", "keyscale", "timesignature", "language", "duration", "genres")
    lines = [f"caption        {output.caption}"]
    for name in names:
        value = getattr(output, name)
        lines.append(f"{name:<14} {'–' if value is None else value}")
    return "\n".join([*lines, "", output.lyrics or NO_LYRICS]) + "\n"
