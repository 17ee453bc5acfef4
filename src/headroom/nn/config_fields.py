"""Read and check a network's config.json field by field, without torch.

`null` counts as absent, `8.0` as 8, `"true"` and `"false"` as booleans. Every size has an upper
bound far above any released network, so that a wrong one is rejected before anything is built with
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from headroom.errors import InvalidCheckpoint, InvalidFile, shown
from headroom.files import CONFIG_BYTES, read_json

NAME = "config.json"
LARGEST = 1 << 17  # of a width, a count of heads or channels, a number of frames
LAYERS = 128
VOCABULARY = 1 << 22
LIST_LENGTH = 16
_SWITCHES = {"true": True, "false": False}


def read_config(folder: Path) -> dict[str, object]:
    """The config.json of a model folder. Raises InvalidCheckpoint if it cannot be read."""
    try:
        value = read_json(folder / NAME, CONFIG_BYTES)
    except InvalidFile as error:
        raise InvalidCheckpoint(folder, [f"{NAME}: {error.why}"]) from error
    if not isinstance(value, dict):
        raise InvalidCheckpoint(folder, [f"{NAME}: holds no object"])
    return value


class ConfigFields:
    """Fields of one config, checked as they are read.

    Faults are collected: an invalid field returns its least value, so that reading continues, and
    `check` raises one InvalidCheckpoint for all of them.
    """

    def __init__(self, raw: Mapping[str, object], folder: str | Path) -> None:
        self.raw = {name: value for name, value in raw.items() if value is not None}
        self.folder = folder
        self.faults: list[str] = []

    def __contains__(self, name: str) -> bool:
        """Whether a field is present and not null."""
        return name in self.raw

    def size(self, name: str, default: int | None = None, most: int = LARGEST) -> int:
        """A whole number from 1 to `most`."""
        value = _whole(self.raw.get(name, default))
        if value is not None and 1 <= value <= most:
            return value
        self._fault(name, f"a whole number from 1 to {most}", default)
        return 1

    def number(
        self, name: str, default: float | None = None, least: float = 1e-30, most: float = 1e30
    ) -> float:
        """A finite number from `least` to `most`."""
        value = self.raw.get(name, default)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if least <= value <= most:  # false of NaN
                return float(value)
        self._fault(name, f"a number from {least:g} to {most:g}", default)
        return least

    def flag(self, name: str, default: bool) -> bool:
        """A boolean."""
        value = self.raw.get(name, default)
        if isinstance(value, str):
            value = _SWITCHES.get(value.strip().lower(), value)
        if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
            return bool(value)
        self._fault(name, "true or false", default)
        return default

    def word(self, name: str, default: str = "") -> str:
        """A string."""
        value = self.raw.get(name, default)
        if isinstance(value, str):
            return value
        self._fault(name, "a text", default)
        return default

    def sizes(
        self, name: str, default: tuple[int, ...] | None = None, least: int = 1, most: int = LARGEST
    ) -> tuple[int, ...]:
        """A list of 1 to 16 whole numbers from `least` to `most`."""
        value = self.raw.get(name, default)
        if isinstance(value, (list, tuple)) and 1 <= len(value) <= LIST_LENGTH:
            sizes = tuple(n for n in map(_whole, value) if n is not None and least <= n <= most)
            if len(sizes) == len(value):
                return sizes
        self._fault(name, f"a list of 1 to {LIST_LENGTH} whole numbers from {least} to {most}")
        return (least,)

    def words(self, name: str, allowed: tuple[str, ...], most: int) -> tuple[str, ...]:
        """A list of 1 to `most` of the `allowed` words; () if the field is absent."""
        if name not in self:
            return ()
        value = self.raw[name]
        if isinstance(value, list) and 1 <= len(value) <= most and all(w in allowed for w in value):
            return tuple(value)
        self._fault(name, f"a list of 1 to {most} of {', '.join(allowed)}")
        return ()

    def fault(self, sentence: str) -> None:
        """Add a fault that concerns several fields."""
        self.faults.append(f"{NAME}: {sentence}")

    def check(self) -> None:
        """Raise InvalidCheckpoint if any field was invalid."""
        if self.faults:
            self.fail()

    def fail(self) -> NoReturn:
        raise InvalidCheckpoint(self.folder, list(dict.fromkeys(self.faults)))

    def _fault(self, name: str, allowed: str, default: object = None) -> None:
        self.fault(f"{name} is {shown(self.raw.get(name, default))}; {allowed} is needed")


def _whole(value: object) -> int | None:
    """A whole number, also one written as 8.0; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    return value if isinstance(value, int) else None
