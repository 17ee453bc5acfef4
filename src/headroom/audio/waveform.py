"""The outline and the loudness of an audio file, read piece by piece however long it is. No torch.

Loudness is the integrated loudness of ITU-R BS.1770 with the filters of pyloudnorm; the whole song
is never in memory, which pyloudnorm itself would need.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from headroom.errors import InvalidSource

Floats = npt.NDArray[np.float64]
POINTS = 8192  # at most, of an outline
_RATE = 50  # points a second, of a short file
_PIECE = 1 << 18  # frames that are read at a time
_BLOCK, _HOPS = 0.4, 4  # seconds of a block of BS.1770, and its parts: blocks overlap by 75 %
_SILENT, _QUIET = -70.0, 10.0  # LUFS below which a block never counts; LU below the mean
_LOUDER = (1.0, 1.0, 1.0, 1.41, 1.41)  # weights of the channels: left, right, centre, surround


@dataclass(frozen=True, slots=True)
class Waveform:
    """An outline: for each of equal parts of the file the highest and the lowest sample of all
    channels, from -1 to 1.

    loudness  LUFS; None for silence, for less than 0.4 s, or without pyloudnorm
    """

    seconds: float
    top: tuple[float, ...]
    bottom: tuple[float, ...]
    loudness: float | None

    def of(self, points: int) -> Waveform:
        """The same with this many points."""
        edges = np.arange(points + 1) * len(self.top) // points
        starts = np.minimum(edges[:-1], len(self.top) - 1)
        top, bottom = np.asarray(self.top), np.asarray(self.bottom)
        if points >= len(self.top):
            return self._with(top[starts], bottom[starts])
        return self._with(np.maximum.reduceat(top, starts), np.minimum.reduceat(bottom, starts))

    def _with(self, top: Floats, bottom: Floats) -> Waveform:
        return Waveform(self.seconds, tuple(top.tolist()), tuple(bottom.tolist()), self.loudness)


def waveform(path: Path) -> Waveform:
    """The waveform of a file that libsndfile reads. Raises InvalidSource."""
    try:
        with soundfile.SoundFile(path) as file:
            return _read(file)
    except (soundfile.SoundFileError, OSError) as error:
        allowed = "an audio file that libsndfile reads"
        raise InvalidSource("waveform", path, "cannot be read", allowed) from error


def _read(file: Any) -> Waveform:
    frames, rate = file.frames, file.samplerate
    points = max(1, min(POINTS, ceil(frames / rate * _RATE)))
    outline = _Outline(points, frames)
    loudness = _Loudness(rate, file.channels) if find_spec("pyloudnorm") else None
    for piece in file.blocks(_PIECE, dtype="float64", always_2d=True):
        outline.add(piece)
        if loudness is not None:
            loudness.add(piece)
    measured = None if loudness is None else loudness.integrated()
    top, bottom = (np.round(side, 3) for side in (outline.top, outline.bottom))
    whole = Waveform(frames / rate, tuple(top.tolist()), tuple(bottom.tolist()), measured)
    return whole


class _Outline:
    """Collects the extremes of each part of a file of so many frames."""

    def __init__(self, points: int, frames: int) -> None:
        self.top, self.bottom = np.zeros(points), np.zeros(points)
        self._frames, self._at = max(frames, 1), 0

    def add(self, piece: Floats) -> None:
        """The next frames [frames, channels]."""
        frames = self._at + np.arange(len(piece))
        parts = np.minimum(frames * len(self.top) // self._frames, len(self.top) - 1)
        starts = np.flatnonzero(np.diff(parts, prepend=-1))
        which = parts[starts]
        high = np.maximum.reduceat(piece.max(axis=1), starts).clip(0.0, 1.0)
        low = np.minimum.reduceat(piece.min(axis=1), starts).clip(-1.0, 0.0)
        self.top[which] = np.maximum(self.top[which], high)
        self.bottom[which] = np.minimum(self.bottom[which], low)
        self._at += len(piece)


class _Loudness:
    """Integrated loudness, over the energies of overlapping blocks."""

    def __init__(self, rate: int, channels: int) -> None:
        from pyloudnorm import IIRfilter

        shelf = IIRfilter(4.0, 1 / sqrt(2), 1500.0, rate, "high_shelf")
        high_pass = IIRfilter(0.0, 0.5, 38.0, rate, "high_pass")
        self._filters = [(one.b, one.a) for one in (shelf, high_pass)]
        self._states = [np.zeros((2, channels)) for _ in self._filters]
        self._hop = rate * _BLOCK / _HOPS
        self._sums: list[Floats] = []  # of the squares of each hop, by channel
        self._rest = np.zeros((0, channels))
        weights = _LOUDER[:channels]
        self._weights = np.array([*weights, *[1.0] * (channels - len(weights))])

    def add(self, piece: Floats) -> None:
        """The next frames [frames, channels]."""
        from scipy.signal import lfilter

        for n, (b, a) in enumerate(self._filters):
            piece, self._states[n] = lfilter(b, a, piece, axis=0, zi=self._states[n])
        self._rest = np.concatenate((self._rest, np.square(piece)))
        done = 0
        while (end := self._end(1)) - self._end(0) + done <= len(self._rest):
            size = end - self._end(0)
            self._sums.append(self._rest[done : done + size].sum(axis=0))
            done += size
        self._rest = self._rest[done:]

    def _end(self, more: int) -> int:
        return int((len(self._sums) + more) * self._hop)

    def integrated(self) -> float | None:
        """LUFS; None where no block counts."""
        hops = np.array(self._sums)
        if len(hops) < _HOPS:
            return None
        blocks = sum(hops[n : len(hops) - _HOPS + 1 + n] for n in range(_HOPS))
        energies = np.asarray(blocks) / (self._hop * _HOPS) @ self._weights
        loud = energies[energies >= _energy(_SILENT)]
        if not len(loud):
            return None
        counted = loud[loud > loud.mean() * 10 ** (-_QUIET / 10)]
        return round(-0.691 + 10 * float(np.log10(counted.mean())), 2)


def _energy(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))
