"""From notes to sound: four stems of stereo, 48 kHz, and their sum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from music.piece import RATE, STEMS, Note, Piece, Stem, frequency, locked
from music.timbres import DRUMS, TIMBRES, Sound, drum, tone

Stereo = npt.NDArray[np.float32]  # [2, samples]
LEVELS: dict[Stem, float] = {"melody": 0.22, "chords": 0.16, "bass": 0.22, "drums": 0.3}
PANS = {"kick": 0.0, "snare": 0.1, "hi-hat": -0.25}


@dataclass(frozen=True, slots=True)
class Rendered:
    """The stems of a song, each [2, samples]; those without notes are silent."""

    melody: Stereo
    chords: Stereo
    bass: Stereo
    drums: Stereo

    def stem(self, name: Stem) -> Stereo:
        """One stem by its name."""
        return {"melody": self.melody, "chords": self.chords, "bass": self.bass}.get(
            name, self.drums
        )

    @property
    def mix(self) -> Stereo:
        """The song."""
        return self.melody + self.chords + self.bass + self.drums


@lru_cache(maxsize=4096)
def _tone(instrument: str, pitch: int, milliseconds: int) -> Sound:
    return tone(TIMBRES[instrument], frequency(pitch), milliseconds / 1000, RATE)


@lru_cache(maxsize=len(DRUMS))
def _drum(name: str) -> Sound:
    return drum(name, RATE)


def render(piece: Piece) -> Rendered:
    """All stems. What rings on beyond the song's end is cut there."""
    known = piece.facts
    length = round(known.seconds * RATE)
    tracks = {name: np.zeros((2, length), dtype=np.float32) for name in STEMS}
    players = {"melody": known.melody, "chords": known.chords, "bass": known.bass}
    for note in piece.notes:
        if note.stem == "drums":
            name = DRUMS[note.pitch]
            sound, start, pan = _drum(name), round(note.start * RATE), PANS[name]
        else:
            player = players[note.stem]
            sound = _tone(player, note.pitch, round(note.seconds * 1000))
            start = locked(note.start, frequency(note.pitch))
            pan = TIMBRES[player].pan
        _add(tracks[note.stem], sound, start, pan, note)
    return Rendered(tracks["melody"], tracks["chords"], tracks["bass"], tracks["drums"])


def _add(track: Stereo, sound: Sound, start: int, pan: float, note: Note) -> None:
    """Lay a note into its track, louder on the side it is panned to."""
    first = max(start, 0)
    stop = min(start + len(sound), track.shape[1])
    if stop <= first:
        return
    level = LEVELS[note.stem] * note.loudness
    sides = np.array([[1 - max(pan, 0)], [1 + min(pan, 0)]], dtype=np.float32)
    track[:, first:stop] += np.float32(level) * sides * sound[first - start : stop - start]
