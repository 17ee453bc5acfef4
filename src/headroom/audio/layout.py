"""Channel layouts: which loudspeaker each channel is for, and mixing down to stereo.

Names are FFmpeg's: FL front left, FC front centre, LFE low-frequency effects, BL back left, SL
side left, and so on. Importing this file imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Places: TypeAlias = tuple[str, ...]

_HALF_POWER = sqrt(0.5)
# Bits of a WAVEFORMATEXTENSIBLE channel mask, lowest first.
_BITS = tuple("FL FR FC LFE BL BR FLC FRC BC SL SR TC TFL TFC TFR TBL TBC TBR".split())
_BY_COUNT: Mapping[int, Places] = MappingProxyType(
    {
        1: ("FC",),
        2: ("FL", "FR"),
        3: ("FL", "FR", "FC"),
        4: ("FL", "FR", "BL", "BR"),
        5: ("FL", "FR", "FC", "BL", "BR"),
        6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
        7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
        8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
    }
)
_VORBIS: Mapping[int, Places] = MappingProxyType(
    {
        3: ("FL", "FC", "FR"),
        5: ("FL", "FC", "FR", "BL", "BR"),
        6: ("FL", "FC", "FR", "BL", "BR", "LFE"),
        7: ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
        8: ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
    }
)
# Gains of a channel in left and right. Source: ITU-R BS.775, downward mixing to two channels;
# channels that it does not name are placed by analogy. An unknown channel goes to the middle.
_LEFT, _RIGHT, _MIDDLE = (1.0, 0.0), (0.0, 1.0), (_HALF_POWER, _HALF_POWER)
_LEFT_BEHIND, _RIGHT_BEHIND, _BEHIND = (_HALF_POWER, 0.0), (0.0, _HALF_POWER), (0.5, 0.5)
_SHARES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        **dict.fromkeys(("FL", "FLC", "DL", "WL"), _LEFT),
        **dict.fromkeys(("FR", "FRC", "DR", "WR"), _RIGHT),
        **dict.fromkeys(("LFE", "LFE2"), (0.0, 0.0)),
        **dict.fromkeys(("BL", "SL", "TFL", "TBL", "TSL"), _LEFT_BEHIND),
        **dict.fromkeys(("BR", "SR", "TFR", "TBR", "TSR"), _RIGHT_BEHIND),
        **dict.fromkeys(("BC", "TC", "TFC", "TBC"), _BEHIND),
    }
)


def wave_places(channels: int, mask: int = 0) -> Places:
    """Channel places in WAV, FLAC and most other formats: from the channel mask, if it fits."""
    named = tuple(name for bit, name in enumerate(_BITS) if mask >> bit & 1)
    if len(named) == channels:
        return named
    return _BY_COUNT.get(channels, ("?",) * channels)


def vorbis_places(channels: int) -> Places:
    """Channel places in Vorbis and Opus. Source: Vorbis I, 4.3.9; RFC 7845, 5.1.1.2."""
    return _VORBIS.get(channels) or wave_places(channels)


def to_stereo(places: Sequence[str]) -> npt.NDArray[np.float32]:
    """The matrix [channels, 2] that mixes these channels down; mono goes to both."""
    if len(places) == 1:
        return np.ones((1, 2), np.float32)
    if len(places) == 2:
        return np.eye(2, dtype=np.float32)
    return np.array([_SHARES.get(place, _MIDDLE) for place in places], np.float32)
