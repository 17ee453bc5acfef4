"""Encoding of audio to files: which rates, channels and bit depths each format supports."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import soundfile

from headroom.audio.aac import check_media, encode_aac, frames_written
from headroom.audio.atomic import replacing
from headroom.audio.containers import settle
from headroom.audio.formats import ENDINGS, FORMATS, KINDS, Format, Kind, listed
from headroom.errors import HeadroomError, InvalidOutput

if TYPE_CHECKING:
    from headroom.audio.wave import Audio

__all__ = ["FORMATS", "Format", "format_of", "write_audio"]

BLOCK = 1 << 16  # frames per call; the Vorbis encoder crashes when it gets a whole song at once
_MP3_FRAME = 1152


def format_of(path: str | Path, field: str = "output") -> Format:
    """The format that a file name asks for. Raises InvalidOutput for an unknown extension."""
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        why = f"ends in {ending!r}" if ending else "has no ending"
        raise InvalidOutput(field, path, why, "a name that ends in " + listed(ENDINGS))
    return ENDINGS[ending]


def write_audio(
    path: str | Path,
    audio: Audio,
    format: Format | None = None,
    bitrate: int | None = None,
    tags: Mapping[str, str] | None = None,
    field: str = "output",
    force: bool = True,
) -> Path:
    """Write a file atomically; missing folders are created. Returns `path`.

    format   wav (16 bits), wav24, wav32 (floating point), flac (24 bits), ogg (Vorbis, quality
             0.6), opus, mp3, m4a (AAC); None: the name decides, see `format_of`
    bitrate  kbit/s of mp3 (constant; the nearest available, by default 192), opus (by default 128)
             and m4a (by default 192); the other formats ignore it
    tags     see `headroom.audio.tags.write_tags`
    force    whether to replace an existing file of that name; otherwise it is refused

    Samples outside ±1 are clipped. Integer samples are sample · 2^(bits − 1), rounded to nearest,
    without dither. Equal audio, tags and library versions give equal bytes, in every format. Raises
    InvalidOutput for a path that cannot be written to, for a format whose encoder is not installed,
    and for a rate, a number of channels or a length that the format does not support; HeadroomError
    for samples that are NaN or infinite.
    """
    from headroom.audio.tags import write_tags

    name = format or format_of(path, field)
    kind = KINDS[name]
    check_codec(name, field, path)
    _check_holds(kind, audio, path, field)
    finite(audio, str(path))
    with replacing(path, field, force) as temp:
        try:
            _encode(temp, audio, kind, bitrate)
            _check_written(temp, audio, kind)
            if tags:
                write_tags(temp, tags)
            settle(temp)
        except soundfile.LibsndfileError as error:
            raise OSError(errno.EIO, error.error_string.rstrip(". ")) from error
    return Path(path)


def finite(audio: Audio, label: str = "the audio") -> Audio:
    """The same audio. Raises HeadroomError, with the count, if samples are NaN or infinite."""
    import torch

    bad = ~torch.isfinite(audio.samples)
    count = int(bad.sum())
    if count:
        first = int(bad.any(dim=0).int().argmax()) / audio.rate
        raise HeadroomError(
            f"{label}: {count} of {audio.samples.numel()} samples are not finite numbers, "
            f"the first at {first:.3f} s."
        )
    return audio


def check_codec(format: Format, field: str, value: object) -> None:
    """Raise InvalidOutput if the encoder of this format is not installed."""
    if KINDS[format].media:
        check_media(field, value)


def _check_holds(kind: Kind, audio: Audio, path: str | Path, field: str) -> None:
    name = kind.subtype if kind.container == "OGG" else kind.container
    if audio.frames < 1:
        raise InvalidOutput(field, path, "would hold no sound (0 samples)", "at least 1 sample")
    if audio.channels > kind.channels:
        why = f"cannot hold {audio.channels} channels as {name}"
        raise InvalidOutput(field, path, why, f"1 to {kind.channels} channels")
    if kind.rates and audio.rate not in kind.rates:
        rates = listed(f"{rate}" for rate in kind.rates)
        why = f"cannot hold a rate of {audio.rate} Hz as {name}"
        raise InvalidOutput(field, path, why, f"{rates} Hz, or another format")


def _encode(path: Path, audio: Audio, kind: Kind, bitrate: int | None) -> None:
    bits_per_second = bitrate or kind.bitrate
    if kind.media and bits_per_second is not None:
        encode_aac(path, audio, bits_per_second)
        return
    compression, mode = _compression(kind, audio, bitrate)
    with soundfile.SoundFile(
        str(path),
        "w",
        audio.rate,
        audio.channels,
        kind.subtype,
        format=kind.container,
        compression_level=compression,
        bitrate_mode=mode,
    ) as file:
        for block in _blocks(audio, kind.bits):
            file.write(block)


def _blocks(audio: Audio, bits: int | None) -> Iterator[npt.NDArray[np.generic]]:
    """Blocks [n, channels]: float32 within ±1, or integers left-aligned in a wider int.

    They are rounded here because the library would round towards minus infinity.
    """
    for start in range(0, audio.frames, BLOCK):
        block = audio.samples[:, start : start + BLOCK].numpy().T
        if bits is None:
            yield np.clip(block, -1.0, 1.0)
            continue
        scale = float(1 << (bits - 1))
        whole = np.clip(np.rint(block * np.float32(scale)), -scale, scale - 1)
        yield whole.astype(np.int16) if bits == 16 else whole.astype(np.int32) << (32 - bits)


def _compression(
    kind: Kind, audio: Audio, bitrate: int | None
) -> tuple[float | None, Literal["CONSTANT"] | None]:
    """The bit rate on the library's scale: 0 is the highest, 1 the lowest."""
    if kind.quality is not None:
        return 1 - kind.quality, None
    if kind.bitrate is None:
        return None, None
    bits_per_second = bitrate or kind.bitrate
    if kind.container == "MP3":
        least, most = (32, 320) if audio.rate >= 32_000 else (8, 160)
        # The encoder refuses exactly 1, so stay just below; it picks the nearest available rate.
        return min(max((most - bits_per_second) / (most - least), 0.0), 0.9999), "CONSTANT"
    each = bits_per_second / audio.channels  # Opus: 6 to 256 kbit/s per channel
    return min(max((256 - each) / 250, 0.0), 1.0), None


def _check_written(path: Path, audio: Audio, kind: Kind) -> None:
    """Raise OSError for a truncated file: encoders report no error when closing fails."""
    slack = 3 * _MP3_FRAME if kind.container == "MP3" else 0  # low bit rates have no length tag
    if kind.media:
        if (frames := frames_written(path)) < audio.frames:
            raise OSError(errno.EIO, f"{frames} of {audio.frames} samples arrived")
        return
    with soundfile.SoundFile(str(path)) as file:
        if audio.frames <= file.frames <= audio.frames + slack:
            file.seek(audio.frames - 1)
            if len(file.read(1)) == 1:
                return
        frames = file.frames
    raise OSError(errno.EIO, f"{frames} of {audio.frames} samples arrived")
