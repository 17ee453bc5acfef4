"""Latents that are computed, not learnt: what the nano VAE's decoder is trained to read.

Of 64 numbers a frame (25 frames a second), 48 carry the wave below 1,500 Hz: a lapped transform
(MDCT; windows of two frames) reduced to its principal components. 16 carry the logarithm of the
loudness in bands above 850 Hz. Each is scaled to a variance of 1 over the generator's songs. Both
are taken of the middle of the two channels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from music.piece import RATE, compose
from music.render import render

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

HOP = 1920  # samples a latent frame
BINS, WAVE, BANDS = 120, 48, 16  # 12.5 Hz a bin
LATENT = WAVE + BANDS
LOW, HIGH = 850.0, 16_000.0  # Hz, of the bands
KEPT = Path(__file__).with_name("analysis.npz")
FLOOR = 1e-5  # a band's quietest amplitude
SURVEY_SONGS, SURVEY_SECONDS, SURVEY_FIRST = 48, 8.0, 500_000_000  # seeds that no training uses


def middle(stereo: npt.NDArray[np.floating]) -> Floats:
    """[2, n] → [n]."""
    mean: Floats = stereo.astype(np.float64).mean(axis=0)
    return mean


def basis(times: Floats) -> Floats:
    """The MDCT's windowed waves, [BINS, times]; times in samples from the window's first one on."""
    window = np.sin(np.pi * (times + 0.5) / (2 * HOP))
    turns = (times + 0.5 + HOP / 2)[None, :] * (np.arange(BINS) + 0.5)[:, None]
    waves: Floats = np.sqrt(2 / HOP) * window * np.cos(np.pi / HOP * turns)
    return waves


def windows(mono: Floats) -> Floats:
    """[n] → [frames, 2 · HOP], each centred on its frame."""
    frames = len(mono) // HOP
    padded = np.pad(mono[: frames * HOP], HOP // 2)
    seen = np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP)
    cut: Floats = seen[::HOP]
    return cut


def band_levels(cut: Floats) -> Floats:
    """[frames, 2 · HOP] → [frames, BANDS], natural logarithms of amplitudes."""
    spectrum = np.abs(np.fft.rfft(cut * np.hanning(2 * HOP), axis=1)) ** 2
    edges = LOW * (HIGH / LOW) ** (np.arange(BANDS + 1) / BANDS)
    places = np.round(edges * 2 * HOP / RATE).astype(int)
    power = np.add.reduceat(spectrum[:, : places[-1]], places[:-1], axis=1)
    levels: Floats = np.log(np.sqrt(power) / HOP + FLOOR)
    return levels


@dataclass(frozen=True, slots=True)
class Analysis:
    """How audio becomes latents, and the linear way back."""

    components: Floats  # [WAVE, BINS], orthonormal rows
    spread: Floats  # [WAVE], standard deviations
    level_mean: Floats  # [BANDS]
    level_spread: Floats  # [BANDS]

    @classmethod
    def usual(cls) -> Analysis:
        """The one that everything is trained with: `survey` at 2026-11-30, kept as a file.

        Components of nearly equal power turn into each other when the songs change a little, and a
        decoder does not understand latents of another survey.
        """
        with np.load(KEPT) as kept:
            return cls(*(kept[field.name] for field in fields(cls)))

    @classmethod
    def survey(cls, songs: int = SURVEY_SONGS, seconds: float = SURVEY_SECONDS) -> Analysis:
        """From songs of the generator as they are now."""
        waves = basis(np.arange(2 * HOP, dtype=np.float64))
        coefficients, levels = [], []
        for seed in range(SURVEY_FIRST, SURVEY_FIRST + songs):
            cut = windows(middle(render(compose(seed, seconds)).mix))
            coefficients.append(cut @ waves.T)
            levels.append(band_levels(cut))
        seen, heard = np.concatenate(coefficients), np.concatenate(levels)
        power, vectors = np.linalg.eigh(seen.T @ seen / len(seen))
        order = np.argsort(power)[::-1][:WAVE]
        components = vectors[:, order].T
        signs = np.sign(components[np.arange(WAVE), np.abs(components).argmax(axis=1)])
        return cls(
            components * signs[:, None],
            np.sqrt(np.maximum(power[order], 1e-12)),
            heard.mean(axis=0),
            heard.std(axis=0) + 1e-3,
        )

    def latents(self, stereo: npt.NDArray[np.floating]) -> Singles:
        """[2, n] → [LATENT, n // HOP]."""
        cut = windows(middle(stereo))
        waves = basis(np.arange(2 * HOP, dtype=np.float64))
        tonal = cut @ waves.T @ self.components.T / self.spread
        levels = (band_levels(cut) - self.level_mean) / self.level_spread
        return np.concatenate([tonal, levels], axis=1).T.astype(np.float32)

    def synthesis(self, times: Floats) -> Floats:
        """What a frame's first WAVE latents sound like, [WAVE, times]."""
        waves: Floats = self.spread[:, None] * (self.components @ basis(times))
        return waves

    def linear(self, latents: npt.NDArray[np.floating]) -> Floats:
        """The way back by arithmetic alone: [LATENT, frames] → [frames · HOP], mono."""
        waves = self.synthesis(np.arange(2 * HOP, dtype=np.float64))
        pieces = latents[:WAVE].astype(np.float64).T @ waves
        out = np.zeros((len(pieces) + 1) * HOP)
        for index, piece in enumerate(pieces):
            out[index * HOP : (index + 2) * HOP] += piece
        return out[HOP // 2 : -HOP // 2]
