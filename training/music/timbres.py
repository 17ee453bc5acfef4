"""Instruments as partials and envelopes, and three drums. Every sound is mono, float32."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]
DRUMS = ("kick", "snare", "hi-hat")
TOP = 12_000.0  # Hz; no partial lies above


@dataclass(frozen=True, slots=True)
class Timbre:
    """Partial k has the strength `partials[k - 1]`; strengths beyond the list are 0."""

    partials: tuple[float, ...]
    attack: float  # seconds to full strength
    decay: float  # seconds to 1/e while held; 0 holds the tone
    release: float  # seconds to silence after the note
    brightness_decay: float = 0.0  # how much faster each further partial dies, a share
    tremolo: float = 0.0  # depth at 6.25 Hz, a rate that returns with the latent frames
    pan: float = 0.0  # −1 left … 1 right


def _falling(count: int, power: float, odd_only: bool = False) -> tuple[float, ...]:
    return tuple(
        0.0 if odd_only and k % 2 == 0 else float(k) ** -power for k in range(1, count + 1)
    )


TIMBRES: dict[str, Timbre] = {
    "piano": Timbre(_falling(8, 1.4), 0.004, 0.9, 0.08, 0.35, pan=-0.15),
    "electric piano": Timbre((1, 0.15, 0.02, 0.25), 0.004, 1.2, 0.1, 0.8, 0.2, pan=0.15),
    "guitar": Timbre(_falling(10, 1.1), 0.002, 0.5, 0.06, 0.25, pan=0.2),
    "organ": Timbre((1, 0.8, 0.5, 0.5, 0, 0.3, 0, 0.25), 0.015, 0, 0.03, pan=-0.2),
    "strings": Timbre(_falling(9, 1.3), 0.12, 0, 0.15, 0, 0.1, pan=0.1),
    "violin": Timbre(_falling(12, 0.9), 0.06, 0, 0.08, 0, 0.2, pan=0.1),
    "flute": Timbre((1, 0.25, 0.06, 0.02), 0.05, 0, 0.06, 0, 0.25, pan=-0.1),
    "clarinet": Timbre(_falling(11, 1.0, odd_only=True), 0.03, 0, 0.05),
    "trumpet": Timbre((0.6, 0.9, 1, 0.8, 0.6, 0.45, 0.3, 0.2), 0.025, 0, 0.05, pan=0.05),
    "marimba": Timbre((1, 0, 0, 0.5, 0, 0, 0, 0, 0, 0.15), 0.002, 0.18, 0.05, 0.5),
    "music box": Timbre((1, 0.1, 0.4, 0.02, 0.3, 0, 0.15), 0.002, 0.6, 0.2, 0.2, pan=0.2),
    "synth lead": Timbre(_falling(14, 0.7), 0.008, 0, 0.04, pan=-0.05),
    "bass": Timbre((1, 0.6, 0.3, 0.15, 0.08), 0.006, 0.8, 0.05, 0.3),
}
MELODIC = (
    "piano", "guitar", "organ", "violin", "flute", "clarinet", "trumpet", "marimba", "music box",
    "synth lead",
)  # fmt: skip


def tone(timbre: Timbre, hertz: float, seconds: float, rate: int) -> Sound:
    """A note from phase 0 on, its release included."""
    held = max(seconds, timbre.attack)
    length = round((held + timbre.release) * rate)
    wave = _ringing(timbre, hertz, -(-length // rate), rate)[:length]
    time = np.arange(length, dtype=np.float32) / np.float32(rate)
    envelope = np.minimum(1, time / np.float32(timbre.attack))
    envelope *= np.clip((np.float32(held + timbre.release) - time) / timbre.release, 0, 1)
    if timbre.tremolo:
        envelope *= 1 - np.float32(timbre.tremolo / 2) * (1 - np.cos(2 * np.pi * 6.25 * time))
    return (wave * envelope).astype(np.float32)


@lru_cache(maxsize=512)
def _ringing(timbre: Timbre, hertz: float, seconds: int, rate: int) -> Sound:
    """A tone that is held for ever, without attack: what notes of every length are cut from."""
    time = np.arange(seconds * rate, dtype=np.float32) / np.float32(rate)
    wave = np.zeros_like(time)
    for number, strength in enumerate(timbre.partials, 1):
        if not strength or number * hertz > TOP:
            continue
        turns = np.float64(number * hertz) * np.arange(len(time)) / rate
        partial = np.sin(2 * np.pi * (turns % 1)).astype(np.float32)
        if timbre.decay:
            speed = (1 + timbre.brightness_decay * (number - 1)) / timbre.decay
            partial *= np.exp(-time * np.float32(speed))
        wave += np.float32(strength) * partial
    wave /= np.float32(np.sqrt(sum(s * s for s in timbre.partials)))
    return wave


def drum(name: str, rate: int) -> Sound:
    """A drum. Its noise is the same at every stroke."""
    noise = np.random.default_rng(DRUMS.index(name))
    if name == "kick":
        time = np.arange(round(0.3 * rate)) / rate
        sweep = 50 * time + 90 * 0.03 * (1 - np.exp(-time / 0.03))
        return (np.sin(2 * np.pi * sweep) * np.exp(-time / 0.09)).astype(np.float32)
    if name == "snare":
        time = np.arange(round(0.2 * rate)) / rate
        rattle = noise.standard_normal(len(time)) * np.exp(-time / 0.05) * 0.35
        return (rattle + 0.5 * np.sin(2 * np.pi * 187.5 * time) * np.exp(-time / 0.04)).astype(
            np.float32
        )
    time = np.arange(round(0.08 * rate)) / rate
    hiss = np.diff(noise.standard_normal(len(time) + 1)) * np.exp(-time / 0.02) * 0.3
    return hiss.astype(np.float32)
