"""headroom: generative audio models in the GPU memory you have.

    from headroom import Engine, Text2Music

    engine = Engine()
    result = engine.generate(Text2Music(caption="slow bossa nova, nylon guitar", duration=30))
    result.save("bossa.flac")

Importing it imports no torch: each name is loaded from its module on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headroom.audio.wave import Audio
    from headroom.client.client import Client
    from headroom.engine.engine import Engine
    from headroom.engine.replay import replay
    from headroom.engine.result import Result, Songs
    from headroom.errors import (
        Cancelled,
        DoesNotFit,
        HeadroomError,
        InvalidInput,
        InvalidRequest,
        WeightsMissing,
    )
    from headroom.memory.plan import Plan
    from headroom.models.acestep.requests.language_requests import (
        CreateSample,
        FormatSample,
        Score,
        Understand,
    )
    from headroom.models.acestep.requests.recording_requests import AlignLyrics, EncodeAudio
    from headroom.models.acestep.requests.songs import (
        Complete,
        Cover,
        Extract,
        Lego,
        Repaint,
        Text2Music,
    )
    from headroom.models.acestep.song.song import Song
    from headroom.params.clamp import Note

__version__: str

__all__ = [
    "AlignLyrics",
    "Audio",
    "Cancelled",
    "Client",
    "Complete",
    "Cover",
    "CreateSample",
    "DoesNotFit",
    "EncodeAudio",
    "Engine",
    "Extract",
    "FormatSample",
    "HeadroomError",
    "InvalidInput",
    "InvalidRequest",
    "Lego",
    "Note",
    "Plan",
    "Repaint",
    "Result",
    "Score",
    "Song",
    "Songs",
    "Text2Music",
    "Understand",
    "WeightsMissing",
    "replay",
]

_PLACES = {
    "headroom.audio.wave": ("Audio",),
    "headroom.client.client": ("Client",),
    "headroom.engine.engine": ("Engine",),
    "headroom.engine.replay": ("replay",),
    "headroom.engine.result": ("Result", "Songs"),
    "headroom.errors": (
        "Cancelled",
        "DoesNotFit",
        "HeadroomError",
        "InvalidInput",
        "InvalidRequest",
        "WeightsMissing",
    ),
    "headroom.memory.plan": ("Plan",),
    "headroom.models.acestep.requests.language_requests": (
        "CreateSample",
        "FormatSample",
        "Score",
        "Understand",
    ),
    "headroom.models.acestep.requests.recording_requests": ("AlignLyrics", "EncodeAudio"),
    "headroom.models.acestep.requests.songs": (
        "Complete",
        "Cover",
        "Extract",
        "Lego",
        "Repaint",
        "Text2Music",
    ),
    "headroom.models.acestep.song.song": ("Song",),
    "headroom.params.clamp": ("Note",),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    for module, names in _PLACES.items():
        if name in names:
            value: object = getattr(import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("headroom-audio")
    except PackageNotFoundError:  # running from a checkout that is not installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
