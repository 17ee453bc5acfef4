"""The silence latent: what a song is made on, with clocks of every tempo in it.

A DiT that sees the same frame everywhere knows no time but the distance between frames. In text to
music the silence latent is all that its source channels hold, and nothing ever decodes it, so it is
the place for clocks: for each tempo the songs have, a wave with the period of its beat. The text
then has only to choose one of them, which a network learns soon; it did not learn in 7,500 steps to
count beats by itself (docs/log.md). The periods of the tones (`piece.GRID`) are there too, so that
the phase of a note is a linear function of the clocks.

A DiT's token is two frames. The first holds the cosines of its clocks, the second the sines.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latents import HOP, Analysis, Singles
from music.piece import BEAT_GRID, RATE, TEMPOS

FRAMES = 15_000  # in the file: 600 s, the longest song
DEPTH = 1.0  # of the waves, in standard deviations of a latent
BEGIN = 3.0  # what the first token has more, in the latents without a clock
PATCH = 2  # latent frames of a DiT's token


def beats() -> tuple[float, ...]:
    """Latent frames a beat, of every tempo that songs have."""
    grid = BEAT_GRID * RATE / HOP  # in frames
    shortest, longest = (round(60 / bpm / BEAT_GRID) for bpm in (max(TEMPOS), min(TEMPOS)))
    return tuple(count * grid for count in range(shortest, longest + 1))


def periods() -> tuple[float, ...]:
    """Latent frames of every clock: beats, pairs of beats, tones, and slow ones for the place."""
    single = beats()
    double = tuple(2 * beat for beat in single if beat.is_integer() and 2 * beat > max(single))
    tones = tuple(32 / times for times in (3, 4, 5, 6, 7, 8))  # 16 and 32 are there already
    slow = (64.0, 128.0, 256.0, 512.0, 1024.0)
    return single + double + tones + slow


def silence(analysis: Analysis, frames: int = FRAMES) -> Singles:
    """[frames, 64], an even number of frames."""
    quiet = analysis.latents(np.zeros((2, HOP), dtype=np.float32))[:, 0]
    rows = np.tile(quiet, (frames, 1))
    clocks = np.array(periods())
    times = np.arange(0, frames, PATCH)[:, None]
    angles: npt.NDArray[np.float64] = 2 * np.pi * times / clocks
    rows[0::PATCH, : len(clocks)] += DEPTH * np.cos(angles)
    rows[1::PATCH, : len(clocks)] += DEPTH * np.sin(angles)
    rows[:PATCH, len(clocks) :] += BEGIN
    return rows.astype(np.float32)
