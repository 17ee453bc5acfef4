"""Reading audio files: their properties, the whole file, or its first seconds as stereo.

Importing this file imports no torch: the length of a recording is needed before anything runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from math import ceil, inf, sqrt
from pathlib import Path

import numpy as np
import soxr

from headroom.audio.atomic import write_json
from headroom.audio.decode import open_sound
from headroom.audio.encode import FORMATS, Format, format_of, write_audio
from headroom.audio.formats import READABLE
from headroom.audio.layout import to_stereo
from headroom.audio.sound import Block, OpenSound
from headroom.audio.wave import Audio
from headroom.errors import InvalidSource

__all__ = [
    "FORMATS", "Format", "Info", "format_of", "loudest", "probe_audio", "read_audio",
    "read_stereo", "write_audio", "write_json",
]  # fmt: skip

MOST_SAMPLES = 1 << 28
"""The most that `read_audio` decodes, all channels: 1 GiB in float32, 46 min of 48 kHz stereo."""
# Lossy coding alone can overshoot full scale by this factor: such peaks are clipped, as usual.
_OVERSHOOT = sqrt(2.0)


@dataclass(frozen=True, slots=True)
class Info:
    """Properties of a file: its rate in Hz, its channels, and the frames of each channel.

    remarks   what is unusual about the file, in words that follow its name in a sentence
    floating  whether its samples are floating point, so that they may exceed full scale
    """

    rate: int
    channels: int
    frames: int
    remarks: tuple[str, ...] = ()
    floating: bool = False

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def probe_audio(path: str | Path, field: str = "source_audio", most: float = inf) -> Info:
    """The properties of a file, from its header; it is decoded only if the header lacks the length.

    That is the case for an mp3 without a length tag and for a FLAC that was written to a pipe;
    counting then stops shortly after `most` seconds. `field` names the request's field in errors.
    Raises InvalidSource as `read_audio` does, except for faults that only decoding shows: NaN, and
    a truncated FLAC or mp3.
    """
    with open_sound(path, field) as sound:
        frames = sound.promised
        if frames is None:
            frames = 0
            with closing(_finite(sound, path, field)) as blocks:
                for block in blocks:
                    frames += len(block)
                    if frames > most * sound.rate:
                        break
        if frames < 1:
            raise InvalidSource(field, path, "holds no sound (0 samples)", READABLE)
        return Info(sound.rate, len(sound.places), frames, sound.remarks, sound.floating)


def read_audio(path: str | Path, field: str = "source_audio") -> Audio:
    """The whole file as float32, at its own rate, all channels; integers are divided by 2^(bits−1).

    `field` names the request's field in errors. Raises InvalidSource for a file that is missing, a
    folder, empty, truncated, unreadable, not audio, without samples or too long, or that contains
    NaN or infinity.
    """
    import torch

    with open_sound(path, field) as sound:
        channels = len(sound.places)
        most = MOST_SAMPLES // channels
        if sound.promised is not None and sound.promised > most:
            raise _too_long(sound, path, field, most)
        pieces: deque[Block] = deque()
        count = 0
        with closing(_finite(sound, path, field)) as blocks:
            for block in blocks:
                count += len(block)
                if count > most:
                    raise _too_long(sound, path, field, most)
                pieces.append(block)
        _check_arrived(sound, count, path, field)
        samples = np.empty((channels, count), dtype=np.float32)
        start = 0
        while pieces:  # each block is freed once copied
            block = pieces.popleft()
            samples[:, start : start + len(block)] = block.T
            start += len(block)
        return Audio(torch.from_numpy(samples), sound.rate)


def read_stereo(path: str | Path, field: str, rate: int, seconds: float) -> Audio:
    """The first `seconds` of the file in two channels at `rate` Hz, within ±1.

    The file is decoded, mixed down and resampled block by block, so only the result is held in
    memory. More than two channels are mixed by ITU-R BS.775. If the mix or a floating-point source
    exceeds full scale, or a lossy source exceeds it by more than 3 dB, the result is divided by its
    peak. Raises InvalidSource as `read_audio` does.
    """
    import torch

    with open_sound(path, field) as sound:
        most_frames = ceil(seconds * sound.rate)
        expected = most_frames if sound.promised is None else min(most_frames, sound.promised)
        out = np.zeros((2, round(expected * rate / sound.rate)), dtype=np.float32)
        count, filled, peak = 0, 0, 0.0
        stream = soxr.ResampleStream(sound.rate, rate, 2, dtype="float32", quality="VHQ")
        with closing(_stereo(sound, path, field, most_frames)) as blocks:
            for block in blocks:
                count += len(block)
                peak = max(peak, float(np.abs(block).max()))
                filled = _put(out, filled, stream.resample_chunk(block))
        _put(out, filled, stream.resample_chunk(np.zeros((0, 2), np.float32), last=True))
        if sound.promised is not None:
            _check_arrived(sound, count, path, field, most_frames)
        if count < 1:
            raise InvalidSource(field, path, "holds no sound (0 samples)", READABLE)
        out = out[:, : round(count * rate / sound.rate)]
        if peak > _most_peak(sound):
            out /= np.float32(peak)
        np.clip(out, -1.0, 1.0, out=out)
        return Audio(torch.from_numpy(out), rate)


def loudest(path: str | Path, field: str, seconds: float) -> float:
    """The peak of the first `seconds` in two channels, 1 being full scale; 0 if the samples cannot
    exceed it, or are lossy, so that only decoding would show it. Raises InvalidSource."""
    with open_sound(path, field) as sound:
        if not sound.floating:
            return 0.0
        with closing(_stereo(sound, path, field, ceil(seconds * sound.rate))) as blocks:
            return max((float(np.abs(block).max()) for block in blocks), default=0.0)


def _most_peak(sound: OpenSound) -> float:
    exact = sound.floating or sound.whole or len(sound.places) > 2
    return 1.0 if exact else _OVERSHOOT


def _put(out: Block, at: int, block: Block) -> int:
    """Copy a block [n, channels] into `out` [channels, frames] at `at`, as far as it has room."""
    end: int = min(at + len(block), out.shape[1])
    out[:, at:end] = block[: end - at].T
    return end


def _stereo(sound: OpenSound, path: str | Path, field: str, most: int) -> Generator[Block]:
    """The first `most` frames, in blocks [n, 2]. No block beyond them is decoded."""
    matrix, count = to_stereo(sound.places), 0
    with closing(_finite(sound, path, field)) as blocks:
        while count < most:
            block = next(blocks, None)
            if block is None:
                return
            block = block[: most - count]
            count += len(block)
            yield np.ascontiguousarray(block if len(matrix) == 2 else block @ matrix)


def _finite(sound: OpenSound, path: str | Path, field: str) -> Generator[Block]:
    """The rest of the file, block by block. Raises InvalidSource for NaN."""
    count = 0
    for block in sound.blocks():
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            at = (count + int(bad.argmax())) / sound.rate
            why = f"holds samples that are not finite numbers, the first at {at:.3f} s"
            raise InvalidSource(field, path, why, "finite samples")
        count += len(block)
        yield block


def _check_arrived(
    sound: OpenSound, count: int, path: str | Path, field: str, most: int | None = None
) -> None:
    """Raise InvalidSource if no samples arrived, or fewer than the header promised."""
    promised = count if sound.promised is None else sound.promised
    expected = promised if most is None else min(promised, most)
    if count < expected - sound.slack:
        why = f"is cut short: {count} of {promised} samples are there"
        raise InvalidSource(field, path, why, READABLE)
    if count < 1:
        raise InvalidSource(field, path, "holds no sound (0 samples)", READABLE)


def _too_long(sound: OpenSound, path: str | Path, field: str, most: int) -> InvalidSource:
    length = "more" if sound.promised is None else f"{sound.promised / sound.rate:.0f} s"
    why = f"is too long to be read whole ({length})"
    channels = len(sound.places)
    allowed = f"at most {most / sound.rate:.0f} s of {channels} channels at {sound.rate} Hz"
    return InvalidSource(field, path, why, allowed)
