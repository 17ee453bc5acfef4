"""The type `Note`: a requested value that was changed or not used, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from headroom.errors import one_line, written
from headroom.reasons import Reason, reason_of


@dataclass(frozen=True, slots=True)
class Note:
    """A requested value, the value used instead, and why. `used` is None if none is used.

    `why` may be a `Reason`, with a code and values by which the note can be translated.
    """

    field: str
    asked: object
    used: object
    why: str

    @property
    def reason(self) -> Reason:
        """`why` with its code and values."""
        return reason_of(self.why)

    def sentence(self) -> str:
        """A one-line message for the user."""
        used = "not used" if self.used is None else f"used {_shown(self.used)}"
        return f"{one_line(self.field, 120)}: asked {_shown(self.asked)}, {used}: {self.why}."


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = written(value)
    return text if len(text) <= 60 else text[:59] + "…"
