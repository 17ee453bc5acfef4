"""Annotations on the fields of a request: help text, limits, choices, and old spellings.

They are metadata of pydantic fields:

    duration: Annotated[float | None, Knob("Song", "Its length.", unit="s"), Limit(10, 600, …)]

`Knob` describes the field to users. `Limit` distinguishes two cases: a number beyond `minimum` or
`maximum` passes validation (`params.clamp` clamps it once, with a note); nonsense such as a
negative length is refused here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Role: TypeAlias = Literal["seconds", "count", "words"]
ROLES: tuple[Role, ...] = get_args(Role)
_DIGITS = 10**18  # bound on integers: more than anything that is counted here


def refuse(allowed: str, **more: object) -> PydanticCustomError:
    """A validation error with its own message; `field` and `value` may be given too."""
    if "value" in more:
        more["value"] = Refused(more["value"])
    return PydanticCustomError("headroom", "allowed: {allowed}", {"allowed": allowed, **more})


@dataclass(frozen=True, slots=True, repr=False)
class Refused:
    """Wraps a refused value inside a pydantic error: pydantic would print it, and not every value
    can be printed."""

    value: object


@dataclass(frozen=True, slots=True)
class Knob:
    """How a field is presented to users, and its older names.

    group     heading under which it is listed
    help      one or two plain sentences
    unit      "s", "dB", …; empty for a plain number
    step      step of its slider
    lines     height of its text box
    flag      name on the command line, if it differs from the field's
    off       name of the flag that switches it off, if that is not `no-` plus its name
    basic     whether most users need it: the short help lists it
    file      whether `@FILE` on the command line means the text of that file
    left_open for a field that may be None: what determines the value then, in words
    stand_in  for a field that may be None: the fallback value (None: no fallback)
    old       old names; hyphens and camelCase are accepted anyway
    open_values numbers and words that mean "decide for me", under any name of the field; a field
              that may be None, or whose choices are words, also accepts `words.OPEN`
    idle      values that other programs send with tasks that do not have this field
    role      what the field means to the engine: `seconds` is the length of a song, `count` the
              number of songs at once, `words` what is wanted; at most one field of a request has
              each
    units     words that may follow a number, lower case
    old_words (other word, the word of the choice), ignoring case; spaces equal hyphens
    old_switches (old boolean field, the choice it selects)
    """

    group: str
    help: str
    unit: str = ""
    step: float | None = None
    lines: int = 1
    flag: str = ""
    off: str = ""
    basic: bool = False
    file: bool = False
    left_open: str = ""
    stand_in: float | str | None = None
    old: tuple[str, ...] = ()
    open_values: tuple[float | str, ...] = ()
    idle: tuple[float | str, ...] = ()
    role: Role | None = None
    units: tuple[str, ...] = ()
    old_words: tuple[tuple[str, str], ...] = ()
    old_switches: tuple[tuple[str, str], ...] = ()

    @property
    def about(self) -> str:
        """The help text and the unit, as a description."""
        return f"{self.help} Unit: {self.unit}." if self.unit else self.help

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema, with the help text as its description."""
        shown = handler(schema)
        shown["description"] = self.about
        return shown


@dataclass(frozen=True, slots=True)
class Limit:
    """The range to which a number is clamped, and the bounds outside which it is refused.

    minimum, maximum  inclusive; a number beyond them is clamped once, with a note giving `why`
    least             numbers below it are refused
    above             numbers at or below it are refused
    most              numbers above it are refused, not clamped
    follows           another field whose tightened limit also applies to this one

    For a tuple or a text the limit applies to its length, and the three bounds are not used.
    """

    minimum: float
    maximum: float
    why: str
    least: float | None = None
    above: float | None = None
    most: float | None = None
    follows: str = ""

    def __post_init__(self) -> None:
        if not self.minimum <= self.maximum:
            raise ValueError(f"limit from {self.minimum} to {self.maximum}")

    def tightened(self, other: Limit) -> Limit:
        """The intersection of two limits, with the reason of the bound that changed."""
        low, high = max(self.minimum, other.minimum), min(self.maximum, other.maximum)
        moved = (low, high) != (self.minimum, self.maximum)
        why = other.why if moved else self.why
        return replace(self, minimum=min(low, high), maximum=high, why=why)

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The field's own schema, followed by the check of the bounds."""
        return core_schema.no_info_wrap_validator_function(self._refuse_nonsense, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema, with minimum and maximum (or the number of items) in its number branch."""
        shown = handler(schema)
        bound(shown, self)
        return shown

    def _refuse_nonsense(
        self, value: object, inner: core_schema.ValidatorFunctionWrapHandler
    ) -> object:
        if isinstance(value, bool):
            raise PydanticCustomError("number_type", "not a number")
        result = inner(value)
        if not isinstance(result, int | float):
            return result
        if isinstance(result, int) and abs(result) >= _DIGITS and self.most is None:
            raise PydanticCustomError("beyond", "too many digits")
        if self.above is not None and not result > self.above:
            raise PydanticCustomError("below", "not above {above}", {"above": self.above})
        if self.least is not None and not result >= self.least:
            raise PydanticCustomError("below", "below {least}", {"least": self.least})
        if self.most is not None and not result <= self.most:
            raise PydanticCustomError("beyond", "above {most}", {"most": self.most})
        return result


def bound(schema: JsonSchemaValue, limit: Limit) -> None:
    """Write the limit into the number, array or text branch of a field's JSON schema, in place."""
    for branch in schema.get("anyOf", [schema]):
        kind = branch.get("type")
        if kind in ("number", "integer"):
            branch["minimum"], branch["maximum"] = limit.minimum, limit.maximum
        elif kind == "array":
            branch["maxItems"] = math.floor(limit.maximum)
        elif kind == "string":
            branch["maxLength"] = math.floor(limit.maximum)


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices of a string field, for lists that are too long for a Literal."""

    values: tuple[str, ...]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The field's own schema, followed by the check of membership."""
        return core_schema.no_info_after_validator_function(self._member, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema, with the choices as an enumeration."""
        shown = handler(schema)
        for branch in shown.get("anyOf", [shown]):
            target = branch["items"] if branch.get("type") == "array" else branch
            if target.get("type") == "string":
                target["enum"] = list(self.values)
        return shown

    def _member(self, value: object) -> object:
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None and one not in self.values:
                raise PydanticCustomError("choice", "not one of the choices")
        return value


@dataclass(frozen=True, slots=True)
class Many:
    """A tuple that may also be given as one string, split at any of the characters `at`.

    If `at` is empty, a string is never split: it becomes the only item.
    """

    at: str = ","

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The split, followed by the field's own schema."""
        return core_schema.no_info_before_validator_function(self.split, handler(source))

    def split(self, value: object) -> object:
        """A list for a string or a single value; anything else unchanged."""
        if isinstance(value, str) and not self.at:
            return [value]
        if isinstance(value, str):
            for separator in self.at[1:]:
                value = value.replace(separator, self.at[0])
            return [part.strip() for part in value.split(self.at[0])] if value.strip() else []
        if value is None or isinstance(value, list | tuple | Mapping):
            return value
        return [value]


def metadata(annotations: list[Any], kind: type) -> Any:
    """The first annotation of type `kind`, or None."""
    return next((a for a in annotations if isinstance(a, kind)), None)
