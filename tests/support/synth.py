"""Recordings for tests, made from nothing: chords, drums, and something that sings.

Everything is a function of its arguments: equal arguments give equal samples. Loudness stays
within ±0.9. Signals are float32 arrays [channels, frames].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float32]
_Doubles = npt.NDArray[np.float64]

CHORDS = ((57, 60, 64, 69), (53, 57, 60, 65), (48, 55, 60, 64), (55, 59, 62, 67))  # Am F C G
# Centre and bandwidth (Hz) of the first three formants of a, e, i, o, u.
VOWELS = (
    ((800, 80), (1150, 90), (2900, 120)),
    ((400, 60), (1700, 80), (2600, 100)),
    ((300, 50), (2300, 90), (3000, 100)),
    ((450, 70), (800, 80), (2830, 100)),
    ((325, 50), (700, 60), (2700, 170)),
)


def hertz(note: float) -> float:
    """The frequency of a MIDI note."""
    return float(440.0 * 2 ** ((note - 69) / 12))


def _time(seconds: float, rate: int) -> _Doubles:
    return np.arange(round(seconds * rate), dtype=np.float64) / rate


def _finish(*channels: _Doubles, level: float = 0.9) -> Signal:
    signal = np.stack(channels)
    signal *= level / max(float(np.abs(signal).max(initial=0.0)), 1e-9)
    return signal.astype(np.float32)


def pad(seconds: float, rate: int = 48_000, bpm: float = 96.0) -> Signal:
    """Stereo chords, four beats each, every voice of ten partials with a slow attack."""
    t = _time(seconds, rate)
    bar = 240.0 / bpm
    left, right = np.zeros_like(t), np.zeros_like(t)
    for number in range(int(np.ceil(seconds / bar))):
        here = (t >= number * bar) & (t < (number + 1) * bar)
        local = t[here] - number * bar
        shape = np.minimum(local / 0.15, 1.0) * np.minimum((bar - local) / 0.2, 1.0)
        for voice, note in enumerate(CHORDS[number % len(CHORDS)]):
            spread = 0.3 + 0.4 * voice / 3
            for partial in range(1, 11):
                pitch = hertz(note) * partial
                if pitch < 0.45 * rate:
                    wave = shape * np.sin(2 * np.pi * pitch * local + voice) / partial**1.5
                    left[here] += (1 - spread) * wave
                    right[here] += spread * wave
    return _finish(left, right)


def drums(seconds: float, rate: int = 48_000, bpm: float = 96.0, seed: int = 0) -> Signal:
    """Stereo kick on one and three, snare on two and four, hi-hat on the eighths."""
    noise = np.random.Generator(np.random.PCG64(seed))
    t = _time(seconds, rate)
    out = np.zeros_like(t)
    beat = 60.0 / bpm
    hit = _time(min(0.25, beat / 2), rate)
    kick = np.sin(2 * np.pi * (50 * hit + 6 * (1 - np.exp(-hit / 0.02)))) * np.exp(-hit / 0.08)
    for number in range(int(np.ceil(2 * seconds / beat))):
        start = round(number * beat / 2 * rate)
        room = len(out) - start
        hiss = np.diff(noise.standard_normal(len(hit) + 1))
        sound = 0.15 * hiss * np.exp(-hit / 0.02)
        if number % 4 == 0:
            sound = sound + kick
        if number % 4 == 2:
            sound = sound + 0.4 * noise.standard_normal(len(hit)) * np.exp(-hit / 0.05)
        out[start : start + len(hit)] += sound[:room]
    return _finish(out, out)


def voice(seconds: float, rate: int = 48_000, note: float = 57.0, seed: int = 0) -> Signal:
    """Mono, vocal-like: a pulse train with vibrato through the formants of changing vowels."""
    choice = np.random.Generator(np.random.PCG64(seed))
    t = _time(seconds, rate)
    syllable = 0.4
    steps = choice.integers(-3, 8, size=int(seconds / syllable) + 1)
    vowels = np.array(VOWELS)[choice.integers(0, len(VOWELS), size=len(steps))]  # [n, 3, 2]
    pitches = hertz(note) * 2.0 ** (steps / 12)
    which = (t / syllable).astype(int)
    vibrato = 1 + 0.01 * np.sin(2 * np.pi * 5.5 * t)
    phase = 2 * np.pi * np.cumsum(pitches[which] * vibrato) / rate
    out = np.zeros_like(t)
    for partial in range(1, 31):
        far = (partial * pitches[:, None] - vowels[..., 0]) / (2.0 * vowels[..., 1])
        gain = (np.array((1.0, 0.5, 0.25)) / (1 + far**2)).sum(axis=1) / partial**0.5
        gain[partial * pitches > 0.4 * rate] = 0.0
        out += gain[which] * np.sin(partial * phase)
    local = t % syllable
    out *= np.minimum(local / 0.03, 1.0) * np.minimum((syllable - local) / 0.05, 1.0)
    return _finish(out)


def song(seconds: float, rate: int = 48_000, seed: int = 0) -> Signal:
    """Stereo: chords, drums and a voice in the middle."""
    mix = 0.5 * pad(seconds, rate) + 0.35 * drums(seconds, rate, seed=seed)
    mix = mix + 0.4 * voice(seconds, rate, seed=seed)
    return _finish(*mix.astype(np.float64))


def sweep(seconds: float, rate: int, low: float, high: float, level: float = 0.5) -> Signal:
    """Mono sine whose frequency rises evenly from `low` to `high` Hz.

    The first and the last tenth rise and fall softly: an abrupt end holds every frequency, so it
    would differ between two rates.
    """
    t = _time(seconds, rate)
    phase = 2 * np.pi * (low * t + (high - low) * t**2 / (2 * seconds))
    edge = np.clip(np.minimum(t, seconds - t) / (seconds / 10), 0.0, 1.0)
    shape = 0.5 - 0.5 * np.cos(np.pi * edge)
    signal: Signal = (level * shape * np.sin(phase)).astype(np.float32)[None]
    return signal
