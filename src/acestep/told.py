"""Dataclasses that know which of their fields were set by the caller."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Self


class Told:
    """Base of a dataclass whose `told(name)` tells a value that was passed from a default.

    Passed is what the constructor was given and what was assigned later, whatever the value; a
    copy and an unpickled object keep it. `dataclasses.replace` and `cls(**object.to_dict())` pass
    every field.
    """

    # Beside the fields, so that `vars(params)` holds nothing but them.
    __slots__ = ("_ready", "_told")
    _told: frozenset[str]
    _ready: bool

    def __new__(cls, *args: object, **named: object) -> Self:
        made = super().__new__(cls)
        names = [field.name for field in fields(cls)] if args else []  # type: ignore[arg-type]
        object.__setattr__(made, "_told", frozenset((*names[: len(args)], *named)))
        object.__setattr__(made, "_ready", False)
        return made

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ready", True)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if self._ready and name not in Told.__slots__:
            object.__setattr__(self, "_told", self._told | {name})

    def told(self, name: str) -> bool:
        """Whether somebody set this field."""
        return name in self._told
