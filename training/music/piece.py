"""What a made song is: its facts, its notes, and how a seed becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from music.timbres import MELODIC

RATE = 48_000
BEAT_GRID = 0.02  # seconds, half a latent frame: every other beat falls alike on the frames
STEMS = ("melody", "chords", "bass", "drums")
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
TEMPOS = tuple(range(60, 181, 5))
METRES = (4, 4, 4, 3)  # beats a bar; as often as they stand here
# Degrees of the scale, one chord a bar.
PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 0), (5, 3, 0, 4), (0, 3, 0, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 3, 6, 2), (0, 5, 3, 4)),
}
# Lengths of a bar's melody notes in half beats.
RHYTHMS = {
    4: ((2, 2, 2, 2), (2, 1, 1, 4), (3, 1, 2, 2), (1, 1, 2, 1, 1, 2), (4, 2, 2), (3, 3, 2)),
    3: ((2, 2, 2), (4, 2), (2, 1, 1, 2), (3, 1, 2)),
}
CHORD_INSTRUMENTS = ("piano", "guitar", "organ", "strings", "electric piano")
GRID, LOW_GRID, LOW = 3.125, 0.78125, 180.0  # Hz; below LOW the finer grid keeps notes in tune

Mode = Literal["major", "minor"]
Stem = Literal["melody", "chords", "bass", "drums"]


@dataclass(frozen=True, slots=True)
class Note:
    """One note; `pitch` is a MIDI number, for drums a place in `DRUMS`."""

    stem: Stem
    start: float  # seconds
    seconds: float
    pitch: int
    loudness: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a song and may be asked of it."""

    bpm: int
    tonic: int  # semitones above C
    mode: Mode
    metre: int  # beats a bar
    melody: str
    chords: str
    bass: str
    drums: bool
    seconds: float

    @property
    def key(self) -> str:
        """As the model's prompts write it: `F# minor`."""
        return f"{NAMES[self.tonic]} {self.mode}"

    @property
    def beat(self) -> float:
        """Seconds a beat, a whole number of BEAT_GRID: the tempo is at most 3 % another."""
        return round(60 / self.bpm / BEAT_GRID) * BEAT_GRID


@dataclass(frozen=True, slots=True)
class Piece:
    """A song as notes."""

    facts: Facts
    progression: tuple[int, ...]
    notes: tuple[Note, ...]


def frequency(pitch: int) -> float:
    """Hz of a MIDI number, moved to a grid whose periods divide a few latent frames.

    A tone on the grid returns to its phase after 8 latent frames (32 for low ones), so a model of
    latents has few phases to learn. The move is at most 15 cents above `LOW`.
    """
    exact = 440.0 * 2 ** ((pitch - 69) / 12)
    grid = LOW_GRID if exact < LOW else GRID
    return round(exact / grid) * grid


def locked(start: float, hertz: float) -> int:
    """The sample nearest `start` at which a tone of this frequency has phase 0."""
    return round(round(start * hertz) / hertz * RATE)


def facts(seed: int, seconds: float) -> Facts:
    """The facts that a seed stands for."""
    draw = np.random.default_rng((seed, 0))
    mode: Mode = "major" if draw.random() < 0.5 else "minor"
    return Facts(
        bpm=int(draw.choice(TEMPOS)),
        tonic=int(draw.integers(12)),
        mode=mode,
        metre=int(draw.choice(METRES)),
        melody=str(draw.choice(MELODIC)),
        chords=str(draw.choice(CHORD_INSTRUMENTS)),
        bass="bass",
        drums=bool(draw.random() < 0.65),
        seconds=seconds,
    )


def scale_pitch(known: Facts, degree: int, base: int) -> int:
    """The MIDI number of a degree of the song's scale, from the tonic at or above `base` on."""
    scale = SCALES[known.mode]
    octave, step = divmod(degree, len(scale))
    return base + (known.tonic - base) % 12 + 12 * octave + scale[step]


def compose(seed: int, seconds: float) -> Piece:
    """The song of a seed: equal seeds and lengths make equal notes."""
    return arrange(facts(seed, seconds), seed)


def arrange(known: Facts, seed: int) -> Piece:
    """A song with these facts; the seed draws what the facts leave open."""
    draw = np.random.default_rng((seed, 1))
    options = PROGRESSIONS[known.mode]
    progression = options[int(draw.integers(len(options)))]
    bar = known.metre * known.beat
    count = int(np.ceil(known.seconds / bar))
    phrases = [_phrase(draw, known.metre) for _ in range(2)]
    notes: list[Note] = []
    for index in range(count):
        root, start = progression[index % len(progression)], index * bar
        phrase = phrases[(index // 2) % 2]
        notes += _melody(known, start, root, phrase, turned=index % 2 == 1)
        notes += _chord(known, start, bar, root)
        notes += _bass(known, start, root)
        if known.drums:
            notes += _drums(known, start)
    kept = tuple(note for note in notes if note.start < known.seconds)
    return Piece(known, progression, kept)


def _phrase(draw: np.random.Generator, metre: int) -> tuple[tuple[int, int], ...]:
    """(half beats, steps away from the chord's notes) of a bar's melody."""
    options = RHYTHMS[metre]
    lengths = options[int(draw.integers(len(options)))]
    return tuple((length, int(draw.integers(-1, 5))) for length in lengths)


def _melody(
    known: Facts, start: float, root: int, phrase: tuple[tuple[int, int], ...], turned: bool
) -> list[Note]:
    notes, half, at = [], known.beat / 2, start
    for index, (length, step) in enumerate(phrase):
        on_beat = index == 0 or length >= 2
        step = -step if turned and index else step
        degree = root + (2 * (step // 2) if on_beat else step)  # long notes are the chord's
        pitch = scale_pitch(known, degree, 67)
        while pitch > 86:
            pitch -= 12
        notes.append(Note("melody", at, 0.95 * length * half, pitch, 0.9 if index == 0 else 0.75))
        at += length * half
    return notes


def _chord(known: Facts, start: float, bar: float, root: int) -> list[Note]:
    pitches = [scale_pitch(known, root + third, 48) for third in (0, 2, 4)]
    pitches = [pitch - 12 if pitch > 66 else pitch for pitch in pitches]
    return [Note("chords", start, 0.98 * bar, pitch, 0.45) for pitch in pitches]


def _bass(known: Facts, start: float, root: int) -> list[Note]:
    pitch = scale_pitch(known, root, 36)
    pitch = pitch - 12 if pitch > 47 else pitch
    places = (0, 2) if known.metre == 4 else (0,)
    long = (2 if known.metre == 4 else 3) * known.beat
    return [Note("bass", start + place * known.beat, 0.9 * long, pitch, 0.8) for place in places]


def _drums(known: Facts, start: float) -> list[Note]:
    """Kick on the first beat (and the third), snare on the others, a hi-hat every half beat."""
    kick, snare, hat = range(3)
    notes = []
    for beat in range(known.metre):
        at = start + beat * known.beat
        kicked = beat % 2 == 0 if known.metre == 4 else beat == 0
        notes.append(Note("drums", at, 0.3, kick if kicked else snare, 0.9))
        notes += [Note("drums", at + h * known.beat / 2, 0.1, hat, 0.4) for h in (0, 1)]
    return notes
