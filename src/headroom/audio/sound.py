"""An open audio file: the properties in its header, and its samples block by block. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from headroom.audio.layout import Places

Block: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class OpenSound:
    """An open audio file.

    rate      Hz
    places    the loudspeaker of each channel
    promised  number of frames according to its header; None if the header does not give it
    slack     how many of these frames may be missing
    floating  whether its samples are floating point, without lossy coding
    whole     whether its samples are exact: neither lossy nor floating point
    remarks   what is unusual about the file, and how it is handled
    blocks    the rest of the file, in blocks [n, channels]; raises InvalidSource
    """

    rate: int
    places: Places
    promised: int | None
    slack: int
    floating: bool
    whole: bool
    remarks: tuple[str, ...]
    blocks: Callable[[], Iterator[Block]]
