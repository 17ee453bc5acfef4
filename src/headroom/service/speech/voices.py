"""Voices that the service keeps: recordings in a folder, each with what is spoken in it beside.

`NAME.wav` (or any format that can be read) and `NAME.txt` make the voice NAME.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headroom import paths
from headroom.audio.formats import ENDINGS
from headroom.errors import InvalidFile
from headroom.files import read_text
from headroom.settings import Settings

FOLDER = "voices"  # in the folder of the service's data
_MOST = 1000  # voices that are listed


@dataclass(frozen=True, slots=True)
class Voice:
    """A recording and what is spoken in it."""

    name: str
    recording: Path
    text: str


def voices_of(settings: Settings) -> Mapping[str, Voice]:
    """The voices by name, in alphabetical order. A recording without a text is left out."""
    folder = settings.data_dir / FOLDER
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return {}
    voices: dict[str, Voice] = {}
    for path in found:
        text = path.with_suffix(".txt")
        if path.suffix.lower() not in ENDINGS or not (paths.is_file(path) and paths.is_file(text)):
            continue
        try:
            said = read_text(text).strip()
        except InvalidFile:
            continue
        if said and len(voices) < _MOST:
            voices.setdefault(path.stem, Voice(path.stem, path, said))
    return voices
