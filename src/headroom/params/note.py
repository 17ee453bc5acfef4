"""What was asked and is done otherwise, as a value and as a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from headroom.errors import one_line, written


@dataclass(frozen=True, slots=True)
class Note:
    """Something asked that is done otherwise. `used` is None where it is not used at all."""

    field: str
    asked: object
    used: object
    why: str

    def sentence(self) -> str:
        """One line for a person."""
        used = "not used" if self.used is None else f"used {_shown(self.used)}"
        return f"{one_line(self.field, 120)}: asked {_shown(self.asked)}, {used}: {self.why}."


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = written(value)
    return text if len(text) <= 60 else text[:59] + "…"
