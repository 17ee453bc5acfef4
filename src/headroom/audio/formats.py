"""The supported audio formats: which can be read, which can be written, and with which settings.

Formats are listed only here: flags, help, errors and schemas are derived from it. Importing this
file imports no torch and no codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal, get_args

Format = Literal["wav", "wav24", "wav32", "flac", "ogg", "opus", "mp3", "m4a"]
FORMATS: tuple[Format, ...] = get_args(Format)

MEDIA = "av"
"""The package that reads and writes what libsndfile does not: FFmpeg's libraries (PyAV)."""
GET_MEDIA = "pip install 'headroom-audio[media]'"


@dataclass(frozen=True, slots=True)
class Kind:
    """The codec library's name for a format, and its properties.

    bits      bits of an integer sample; None: floating point, or lossy
    quality   0 (smallest file) … 1, for a lossy format without a bit rate setting
    bitrate   the default, kbit/s
    media     whether PyAV writes it
    """

    container: str
    subtype: str
    endings: tuple[str, ...]
    bits: int | None = None
    rates: tuple[int, ...] | None = None
    channels: int = 8
    quality: float | None = None
    bitrate: int | None = None
    media: bool = False


_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_AAC_RATES = (*_MP3_RATES, 64_000, 88_200, 96_000)

KINDS: Mapping[Format, Kind] = MappingProxyType(
    {
        "wav": Kind("WAV", "PCM_16", (".wav",), bits=16, channels=1024),
        "wav24": Kind("WAV", "PCM_24", (), bits=24, channels=1024),
        "wav32": Kind("WAV", "FLOAT", (), channels=1024),
        "flac": Kind("FLAC", "PCM_24", (".flac",), bits=24),
        "ogg": Kind("OGG", "VORBIS", (".ogg", ".oga"), quality=0.6),
        "opus": Kind("OGG", "OPUS", (".opus",), rates=_OPUS_RATES, bitrate=128),
        "mp3": Kind("MP3", "MPEG_LAYER_III", (".mp3",), rates=_MP3_RATES, channels=2, bitrate=192),
        "m4a": Kind("M4A", "AAC", (".m4a",), rates=_AAC_RATES, channels=2, bitrate=192, media=True),
    }
)
ENDINGS: Mapping[str, Format] = MappingProxyType(
    {ending: name for name, kind in KINDS.items() for ending in kind.endings}
)
WITH_BITRATE: tuple[Format, ...] = tuple(n for n, kind in KINDS.items() if kind.bitrate is not None)

# Formats that can be read but not written.
READ_ONLY = ("aiff", "aac", "mp4", "webm")


def listed(words: Iterable[object]) -> str:
    """`a, b or c`."""
    *most, last = map(str, words)
    return f"{', '.join(most)} or {last}" if most else last


_READ = [name for name, kind in KINDS.items() if kind.endings] + list(READ_ONLY)
READABLE = f"a {listed(_READ)} file with sound in it"


def has_media() -> bool:
    """Whether PyAV is installed."""
    try:
        return find_spec(MEDIA) is not None
    except ValueError:  # marked as absent in sys.modules
        return False


def container(format: Format) -> Format:
    """The format's file extension: the three kinds of wav share one."""
    return "wav" if format.startswith("wav") else format
