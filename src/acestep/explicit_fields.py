"""A base for dataclasses that know which of their fields the caller set."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Self


class ExplicitFields:
    """Base of a dataclass whose `is_set(name)` says whether a value was passed or is a default.

    A field counts as passed if the constructor received it or it was assigned later, whatever the
    value; copies and unpickled objects keep this. `dataclasses.replace` and
    `cls(**object.to_dict())` pass every field.
    """

    # Kept apart from the fields, so that `vars(params)` holds only fields.
    __slots__ = ("_ready", "_set_fields")
    _set_fields: frozenset[str]
    _ready: bool

    def __new__(cls, *args: object, **named: object) -> Self:
        instance = super().__new__(cls)
        names = [field.name for field in fields(cls)] if args else []  # type: ignore[arg-type]
        object.__setattr__(instance, "_set_fields", frozenset((*names[: len(args)], *named)))
        object.__setattr__(instance, "_ready", False)
        return instance

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ready", True)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if self._ready and name not in ExplicitFields.__slots__:
            object.__setattr__(self, "_set_fields", self._set_fields | {name})

    def is_set(self, name: str) -> bool:
        """Whether the caller set this field."""
        return name in self._set_fields
