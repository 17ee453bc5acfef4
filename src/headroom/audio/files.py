"""Audio files: read whole, asked for their length, written whole or not at all.

Importing this file imports no torch: how long a recording is must be known before anything runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from headroom import paths
from headroom.audio.atomic import write_json
from headroom.audio.containers import cut_short
from headroom.audio.encode import FORMATS, Format, format_of, write
from headroom.audio.wave import Audio
from headroom.errors import InvalidSource

__all__ = ["FORMATS", "Format", "Info", "format_of", "probe", "read", "write", "write_json"]

READABLE = "a wav, flac, ogg, opus or mp3 file with sound in it"
RATES = range(1_000, 1_000_001)
BLOCK = 1 << 16
_UNKNOWN = 1 << 48  # a header that does not know says 2^63 − 1
# Decoders may deliver a little less than promised: two frames of mp3, two of the longest blocks
# of Vorbis. More than that is missing.
_SLACK = {"MP3": 2 * 1152, "OGG": 2 * 8192}

Block = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Info:
    """What a file holds: its rate in Hz, its channels, and the frames of each channel."""

    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def probe(path: str | Path, field: str = "source_audio") -> Info:
    """What the file holds, from its header; decoded only where the header does not know.

    That is so for an mp3 without a length tag and a FLAC that was written to a pipe. `field` names
    the request's field in errors. Raises InvalidSource as `read` does, but for what only decoding
    shows: NaN, and a FLAC or mp3 that is cut short.
    """
    with _opened(path, field) as file:
        frames = file.frames
        if not _length_is_known(file, Path(path)):
            frames = sum(len(block) for block in _blocks(file, path, field))
        if frames < 1:
            raise InvalidSource(field, path, "holds no sound (0 samples)", READABLE)
        return Info(file.samplerate, file.channels, frames)


def read(path: str | Path, field: str = "source_audio") -> Audio:
    """The whole file as float32, at its own rate, all channels; integers are divided by 2^(bits−1).

    `field` names the request's field in errors. Raises InvalidSource for a file that is missing, a
    folder, empty, cut short, unreadable, no audio, without samples, or holds NaN or infinity.
    """
    import torch

    with _opened(path, field) as file:
        blocks = deque(_blocks(file, path, field))
        count = sum(len(block) for block in blocks)
        promised = file.frames if _length_is_known(file, Path(path)) else count
        if count < promised - _SLACK.get(file.format, 0):
            why = f"is cut short: {count} of {promised} samples are there"
            raise InvalidSource(field, path, why, READABLE)
        if count < 1:
            raise InvalidSource(field, path, "holds no sound (0 samples)", READABLE)
        samples = np.empty((file.channels, count), dtype=np.float32)
        start = 0
        while blocks:  # each block is let go once copied
            block = blocks.popleft()
            samples[:, start : start + len(block)] = block.T
            start += len(block)
        return Audio(torch.from_numpy(samples), file.samplerate)


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """Read from front to back: the library's seek after every read fails on unknown lengths."""

    def seekable(self) -> bool:
        return False


def _opened(path: str | Path, field: str) -> _Stream:
    _check_place(Path(path), path, field)
    try:
        file = _Stream(str(Path(path).absolute()))  # a plain "-" would mean standard input
    except (soundfile.LibsndfileError, TypeError) as error:
        why = f"cannot be read as audio ({_words(error)})"
        raise InvalidSource(field, path, why, READABLE) from error
    if file.samplerate not in RATES:
        file.close()
        why, allowed = f"has a rate of {file.samplerate} Hz", f"{RATES[0]} to {RATES[-1]} Hz"
        raise InvalidSource(field, path, why, allowed)
    return file


def _check_place(place: Path, path: str | Path, field: str) -> None:
    """Raise InvalidSource for everything that can be said without decoding."""
    try:
        if paths.is_dir(place):
            raise InvalidSource(field, path, "is a folder", READABLE)
        size = place.stat().st_size
        if not paths.is_file(place):
            raise InvalidSource(field, path, "is not a regular file", READABLE)
        if size == 0:
            raise InvalidSource(field, path, "is empty (0 bytes)", READABLE)
        if place.suffix.lower() == ".raw":
            raise InvalidSource(field, path, "has no header that says what it holds", READABLE)
        torn = cut_short(place)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidSource(field, path, "is not there", READABLE) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidSource(field, path, f"cannot be read ({reason})", READABLE) from error
    if torn:
        raise InvalidSource(field, path, torn, READABLE)


def _blocks(file: _Stream, path: str | Path, field: str) -> Iterator[Block]:
    """All that is left of the file, [n, channels] at a time. Raises InvalidSource for NaN."""
    done = 0
    while True:
        try:
            block: Block = file.read(BLOCK, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            why = f"is cut short or damaged after {done} samples ({_words(error)})"
            raise InvalidSource(field, path, why, READABLE) from error
        if not len(block):
            return
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            at = (done + int(bad.argmax())) / file.samplerate
            why = f"holds samples that are not finite numbers, the first at {at:.3f} s"
            raise InvalidSource(field, path, why, "finite samples")
        done += len(block)
        yield block


def _length_is_known(file: _Stream, path: Path) -> bool:
    if file.format == "MP3":
        return _mp3_has_length(path)
    return 0 <= int(file.frames) < _UNKNOWN


def _mp3_has_length(path: Path) -> bool:
    """Whether the first frame is a Xing or Info tag; without one the length is only a guess."""
    with path.open("rb") as file:
        head = file.read(10)
        start = 0
        if head[:3] == b"ID3" and len(head) == 10:  # its size has seven bits a byte
            start = 10 + sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(head[6:]))
        file.seek(start)
        first = file.read(2048)
    return b"Xing" in first or b"Info" in first


def _words(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return str(text).rstrip(". ")
