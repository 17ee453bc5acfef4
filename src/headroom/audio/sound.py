"""An audio file that is open: what its header says, and its samples block by block. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from headroom.audio.layout import Places

Block: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sound:
    """A file that is open.

    rate      Hz
    places    which loudspeaker each channel is for
    promised  frames, as its header says; None where that does not know
    slack     frames that may be missing of them
    floating  whether its samples are floating point, without lossy coding
    whole     whether they are exact: neither lossy nor floating point
    remarks   what is odd about the file, and what is done about it
    blocks    what is left of it, [n, channels] at a time; raises InvalidSource
    """

    rate: int
    places: Places
    promised: int | None
    slack: int
    floating: bool
    whole: bool
    remarks: tuple[str, ...]
    blocks: Callable[[], Iterator[Block]]
