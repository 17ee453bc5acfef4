"""`acestep compose`, `understand` and `score`: run only the language model and print its answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypeVar

from headroom.cli import sheet_flags
from headroom.cli.model import check_model, open_engine
from headroom.cli.output import tell_notes
from headroom.cli.progress import shown, stoppable
from headroom.cli.sheet_flags import COMPOSE, SCORE, UNDERSTAND, Asked, Command
from headroom.models.base import Score, SheetWish, SongSheet
from headroom.params.clamp import Note
from headroom.runtime.events import Stop, Tell
from headroom.settings import load as load_settings

if TYPE_CHECKING:
    from headroom.engine.engine import Engine

R = TypeVar("R")
Work = Callable[["Engine", SheetWish, Tell, Stop], R]
NO_LYRICS = "(no lyrics)"


def compose(words: Sequence[str]) -> int:
    """`acestep compose …`: a song sheet from one line; with --lyrics, both rewritten."""
    return _sheet(COMPOSE, words)


def understand(words: Sequence[str]) -> int:
    """`acestep understand …`: a description of a recording or of audio codes."""
    return _sheet(UNDERSTAND, words)


def score(words: Sequence[str]) -> int:
    """`acestep score …`: how well a recording, or codes, fit their description."""
    asked = sheet_flags.asked(SCORE, words)

    def work(engine: Engine, wish: SheetWish, tell: Tell, stop: Stop) -> Score:
        return engine.score(wish, tell, stop)

    known: set[str] = set()
    found = _worked(asked, work, known)
    if asked.json:
        whole = {**asdict(found), "notes": _as_json(found.notes)}
        sys.stdout.write(json.dumps(whole, indent=1, default=str) + "\n")
        return 0
    tell_notes(found.notes, known)
    lines = [f"{name:<14} {value:.3f}" for name, value in found.parts.items()]
    sys.stdout.write("\n".join([*lines, f"{'reward':<14} {found.reward:.3f}"]) + "\n")
    return 0


def _sheet(command: Command, words: Sequence[str]) -> int:
    asked = sheet_flags.asked(command, words)

    def work(engine: Engine, wish: SheetWish, tell: Tell, stop: Stop) -> SongSheet:
        return engine.write(wish, tell, stop)

    known: set[str] = set()
    sheet = _worked(asked, work, known)
    if asked.json:
        song = {name: value for name, value in asdict(sheet).items() if name != "notes"}
        whole = {"song": song, "seed": asked.wish.seed, "notes": _as_json(sheet.notes)}
        sys.stdout.write(json.dumps(whole, indent=1, ensure_ascii=False, default=str) + "\n")
        return 0
    tell_notes(sheet.notes, known)
    sys.stdout.write(_words(sheet))
    return 0


def _as_json(notes: Iterable[Note]) -> list[dict[str, object]]:
    return [{**asdict(note), "sentence": note.sentence()} for note in notes]


def _worked(asked: Asked, work: Work[R], known: set[str]) -> R:
    """Open an engine, hear the recording if one is named, and do the work. `known` holds the notes
    that were already printed."""
    settings = load_settings()
    if not asked.quiet:
        sys.stderr.writelines(f"{name}: not used: nothing is drawn here.\n" for name in asked.idle)
    check_model(asked.flags.model, asked.flags.checkpoint_dir, settings)
    wish = asked.wish
    with stoppable() as stop, shown(asked.quiet, not settings.no_progress) as tell:
        engine = open_engine(asked.flags, settings)
        if not asked.quiet:
            tell_notes((*engine.model.notes, *engine.terms.notes), known)
        if asked.heard is not None:
            wish = replace(wish, text=engine.hear(asked.heard, tell, stop))
        return work(engine, wish, tell, stop)


def _words(sheet: SongSheet) -> str:
    named = ("bpm", "keyscale", "timesignature", "language", "duration", "genres")
    lines = [f"caption        {sheet.caption}"]
    for name in named:
        value = getattr(sheet, name)
        lines.append(f"{name:<14} {'–' if value is None else value}")
    return "\n".join([*lines, "", sheet.lyrics or NO_LYRICS]) + "\n"
