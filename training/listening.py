"""What can be heard of a song, as numbers: tempo, key, instruments, drums, loudness, differences.

All of it is NumPy over [2, n] at 48 kHz. Instruments and drums are recognised by kernel regression
over songs of the generator. None of the measures is perfect: `accuracy` says how often each is
right about the generator's own songs, which is the most that a model can reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latents import Floats, middle
from music.piece import CHORD_INSTRUMENTS, NAMES, RATE, Facts, arrange
from music.render import render
from music.timbres import MELODIC
from songs import known

Sound = npt.NDArray[np.floating]
SIZE, HOP = 2048, 480  # of spectra; 100 a second
BANDS, LOWEST, HIGHEST = 48, 50.0, 16_000.0
FLOOR = 1e-4  # amplitude below which bands count as silent
TUNED, LOUDEST_TUNED = 60.0, 2000.0  # Hz, between which a key is looked for
TEMPOS = np.arange(60, 181)
NEAR = 0.04  # of the tempo asked for
# Krumhansl and Kessler's (1982) weights of the twelve tones above the tonic.
PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
RIDGE, REACH = 0.1, 1000.0  # of the kernel regression
HEARD_FIRST = 700_000_000  # seeds of the songs that the classifier hears


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a song. `key` is spelt as `Facts.key` spells it."""

    bpm: int
    key: str
    melody: str
    chords: str
    drums: bool
    loudness_db: float


def spectra(mono: Floats, size: int = SIZE, hop: int = HOP) -> Floats:
    """Amplitudes [frames, size / 2 + 1]; a full-scale sine is about 0.5."""
    padded = np.pad(mono, (size // 2, size))
    cut = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    made: Floats = np.abs(np.fft.rfft(cut * np.hanning(size), axis=1)) / (size / 2)
    return made


def bands(sound: Sound) -> Floats:
    """Natural logarithms of amplitudes, [frames, BANDS], bands evenly spaced in pitch."""
    seen = spectra(middle(sound)) ** 2
    edges = LOWEST * (HIGHEST / LOWEST) ** (np.arange(BANDS + 1) / BANDS)
    places = np.maximum.accumulate(np.round(edges * SIZE / RATE).astype(int))
    places = np.maximum(places, np.arange(BANDS + 1) + places[0])  # at least one line each
    power = np.add.reduceat(seen[:, : places[-1]], places[:-1], axis=1)
    levels: Floats = np.log(np.sqrt(power) + FLOOR)
    return levels


def tempo(levels: Floats) -> int:
    """Beats a minute, of `bands`: the period at which onsets repeat best."""
    onsets = np.maximum(np.diff(levels, axis=0), 0).sum(axis=1)
    onsets = onsets - onsets.mean()
    size = 2 * len(onsets)
    repeats = np.fft.irfft(np.abs(np.fft.rfft(onsets, size)) ** 2)[: len(onsets)]
    repeats = repeats / np.maximum(np.arange(len(onsets), 0, -1), 1)
    periods = 60 * RATE / HOP / TEMPOS
    score = np.zeros(len(TEMPOS))
    for beats in (1, 2, 3, 4):
        score += np.interp(beats * periods, np.arange(len(repeats)), repeats, right=0)
    return int(TEMPOS[score.argmax()])


def tones(sound: Sound) -> Floats:
    """How strong each of the twelve tones is, [frames, 12], a frame every 171 ms."""
    seen = spectra(middle(sound), 16_384, 8192)
    hertz = np.arange(seen.shape[1]) * RATE / 16_384
    inside = (hertz > TUNED) & (hertz < LOUDEST_TUNED)
    names = np.round(12 * np.log2(hertz[inside] / 440) + 69).astype(int) % 12
    loud = np.sqrt(seen[:, inside])
    return np.stack([loud[:, names == tone].sum(axis=1) for tone in range(12)], axis=1)


def harmony_likeness(one: Sound, other: Sound) -> float:
    """Correlation of how `tones` come and go: 1 for equal songs, about 0 for unrelated ones."""
    first, second = tones(one), tones(other)
    length = min(len(first), len(second))
    first, second = (rows[:length] - rows[:length].mean(axis=0) for rows in (first, second))
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum() + 1e-20))


def signal_to_distortion_db(real: Sound, made: Sound) -> float:
    """Energy of the sound over that of the difference, both channels."""
    length = min(real.shape[1], made.shape[1])
    wrong = made[:, :length].astype(np.float64) - real[:, :length]
    return loudness_db(real[:, :length]) - loudness_db(wrong)


def step_at(sound: Sound, place: int) -> float:
    """The largest step between neighbouring samples within 1 ms of a place, over the same within
    50 ms around it without that: far above 1 where it clicks."""
    steps = np.abs(np.diff(middle(sound[:, max(0, place - 2400) : place + 2400])))
    near = np.zeros(len(steps), dtype=bool)
    near[len(steps) // 2 - 48 : len(steps) // 2 + 48] = True
    return float(steps[near].max() / (steps[~near].max() + 1e-12))


def jump_at(sound: Sound, place: int) -> float:
    """The largest change of the spectrum between neighbouring frames of 10 ms, within 20 ms of a
    place, over the 99th percentile of all such changes of the sound: above 1 where a seam stands
    out."""
    changes = np.linalg.norm(np.diff(bands(sound), axis=0), axis=1)
    at = round(place / HOP)
    return float(changes[max(0, at - 3) : at + 2].max() / (np.percentile(changes, 99) + 1e-12))


def key(sound: Sound) -> str:
    """The key whose profile the loudness of the twelve tones is most like."""
    strength = tones(sound).sum(axis=0)
    names, scores = [], []
    for mode, profile in PROFILES.items():
        for tonic in range(12):
            names.append(f"{NAMES[tonic]} {mode}")
            scores.append(np.corrcoef(strength, np.roll(profile, tonic))[0, 1])
    return names[int(np.argmax(scores))]


def relative(name: str) -> str:
    """The key with the same tones: A minor of C major, and back."""
    tonic, mode = name.split()
    away, other = (9, "minor") if mode == "major" else (3, "major")
    return f"{NAMES[(NAMES.index(tonic) + away) % 12]} {other}"


def loudness_db(sound: Sound) -> float:
    """Root mean square in dB of full scale."""
    return float(10 * np.log10(np.square(sound.astype(np.float64)).mean() + 1e-12))


def spectral_distance_db(one: Sound, other: Sound) -> float:
    """Mean distance of logarithmic spectra; what is 60 dB below the loudest does not count."""
    length = min(one.shape[1], other.shape[1])
    first, second = (spectra(middle(sound[:, :length]), 2048, 512) for sound in (one, other))
    least = max(first.max(), second.max(), 1e-9) * 1e-3
    apart = 20 * np.log10(np.maximum(first, least) / np.maximum(second, least))
    return float(np.sqrt(np.square(apart).mean(axis=1)).mean())


def region_difference_db(
    before: Sound, after: Sound, region: tuple[int, int]
) -> tuple[float, float]:
    """How loud the difference is inside samples [start, stop) and outside, in dB of the sound."""
    length = min(before.shape[1], after.shape[1])
    change = (after[:, :length] - before[:, :length]).astype(np.float64)
    inside = np.zeros(length, dtype=bool)
    inside[slice(*region)] = True
    whole = loudness_db(before[:, :length])
    return loudness_db(change[:, inside]) - whole, loudness_db(change[:, ~inside]) - whole


def features(levels: Floats) -> Floats:
    """Of `bands`: their mean, spread, and how they rise and fall, [4 · BANDS]."""
    steps = np.diff(levels, axis=0)
    parts = (
        levels.mean(axis=0), levels.std(axis=0),
        np.maximum(steps, 0).mean(axis=0), np.percentile(levels, 90, axis=0),
    )  # fmt: skip
    return np.concatenate(parts)


class Listener:
    """Measures that need to have heard songs: of `count` songs of so many latent frames."""

    def __init__(self, count: int, frames: int = 250, first: int = HEARD_FIRST) -> None:
        facts, rows = [], []
        for seed in range(first, first + count):
            facts.append(known(seed, frames))
            rows.append(features(bands(render(arrange(facts[-1], seed)).mix)))
        heard = np.stack(rows)
        self.mean, self.spread = heard.mean(axis=0), heard.std(axis=0) + 1e-3
        wanted = np.stack([self._target(one) for one in facts])
        self.base = wanted.mean(axis=0)
        self.heard = (heard - self.mean) / self.spread
        alike = self._alike(self.heard) + RIDGE * np.eye(count)
        self.weights = np.linalg.solve(alike, wanted - self.base)

    def _alike(self, rows: Floats) -> Floats:
        apart = np.square(rows[:, None] - self.heard).sum(axis=-1)
        return np.exp(-apart / REACH)

    @staticmethod
    def _target(facts: Facts) -> Floats:
        row = np.zeros(len(MELODIC) + len(CHORD_INSTRUMENTS) + 1)
        row[MELODIC.index(facts.melody)] = 1
        row[len(MELODIC) + CHORD_INSTRUMENTS.index(facts.chords)] = 1
        row[-1] = facts.drums
        return row

    def hear(self, sound: Sound) -> Heard:
        """Everything that can be heard of [2, n] at 48 kHz."""
        levels = bands(sound)
        row = (features(levels) - self.mean) / self.spread
        said = (self._alike(row[None]) @ self.weights)[0] + self.base
        melody = MELODIC[int(said[: len(MELODIC)].argmax())]
        chords = CHORD_INSTRUMENTS[int(said[len(MELODIC) : -1].argmax())]
        return Heard(
            tempo(levels), key(sound), melody, chords, bool(said[-1] > 0.5), loudness_db(sound)
        )


def agreement(wanted: Facts, heard: Heard) -> dict[str, bool]:
    """What of a song is as it was asked for."""
    ratios = [heard.bpm / wanted.bpm * octave for octave in (0.5, 1, 2)]
    near = [abs(ratio - 1) <= NEAR for ratio in ratios]
    return {
        "tempo": near[1],
        "tempo or its octave": any(near),
        "key": heard.key == wanted.key,
        "key or its relative": wanted.key in (heard.key, relative(heard.key)),
        "melody": heard.melody == wanted.melody,
        "chords": heard.chords == wanted.chords,
        "drums": heard.drums == wanted.drums,
    }


def shares(wanted: Sequence[Facts], heard: Sequence[Heard]) -> dict[str, float]:
    """How often each agrees."""
    rows = [agreement(one, other) for one, other in zip(wanted, heard, strict=True)]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def accuracy(listener: Listener, seeds: Sequence[int], frames: int) -> dict[str, float]:
    """How often each measure is right about songs of the generator."""
    facts = [known(seed, frames) for seed in seeds]
    sounds = (render(arrange(one, seed)).mix for one, seed in zip(facts, seeds, strict=True))
    return shares(facts, [listener.hear(sound) for sound in sounds])
