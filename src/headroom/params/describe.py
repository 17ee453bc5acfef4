"""Reads the fields of a request model, so that all interfaces show the same parameters.

Types, limits, defaults and help are read only here: flags, schema, controls and documents are
generated from what `describe` returns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from headroom.params.knob import Choices, Knob, Limit, Many, Role, metadata

TASK = "task"  # the field that identifies the kind of request; not a parameter


@dataclass(frozen=True, slots=True)
class Param:
    """One field of a request, as all interfaces need it.

    `kind` is bool, int, float, str or Path. With `many` the field is a tuple of that kind, and a
    single string is split at the characters `split`. `optional` means that it may be None.
    """

    name: str
    kind: type
    default: object
    required: bool
    optional: bool
    many: bool
    split: str
    limit: Limit | None
    choices: tuple[str, ...]
    knob: Knob

    @property
    def minimum(self) -> float | None:
        """The lowest value that is not clamped."""
        return self.limit.minimum if self.limit else None

    @property
    def maximum(self) -> float | None:
        """The highest value that is not clamped."""
        return self.limit.maximum if self.limit else None

    @property
    def flag(self) -> str:
        """The name of its flag on the command line, without dashes."""
        return self.knob.flag or self.name.replace("_", "-")

    @property
    def off(self) -> str:
        """The name of the flag that switches it off, without dashes."""
        return self.knob.off or f"no-{self.flag}"

    def allowed(self) -> str:
        """The allowed values, as the end of a sentence."""
        words = _kind_words(self)
        if self.required:
            return f"{words}, which this task needs (--{self.flag})"
        return f"{words}, or nothing ({self.left_open})" if self.optional else words

    @property
    def left_open(self) -> str:
        """What determines the value if the field is None, in words, and the fallback value."""
        value = self.knob.stand_in
        if value is None:
            return self.knob.left_open
        return f"{self.knob.left_open}, else {self.shown(value)}"

    def shown(self, value: object) -> str:
        """A value of this parameter for display, with its unit."""
        unit = f" {self.knob.unit}" if self.knob.unit else ""
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, int | float) and math.isfinite(value):
            return plain(value) + unit
        return str(value)


@cache
def describe(model: type[BaseModel]) -> tuple[Param, ...]:
    """The parameters of a request in the order of declaration, group by group."""
    wording = getattr(model, "wording", {})
    params = [_param(n, f, wording.get(n, {})) for n, f in model.model_fields.items() if n != TASK]
    return _in_order(params, getattr(model, "groups", ()))


def union(models: Iterable[type[BaseModel]]) -> tuple[Param, ...]:
    """The parameters of several requests, each once: the first declaration of a name counts."""
    found: dict[str, Param] = {}
    order: dict[str, None] = {}
    for model in models:
        order |= dict.fromkeys(getattr(model, "groups", ()))
        for param in describe(model):
            found.setdefault(param.name, param)
    return _in_order(found.values(), order)


def groups(params: Sequence[Param]) -> dict[str, tuple[Param, ...]]:
    """Parameters by heading, in order."""
    names = dict.fromkeys(p.knob.group for p in params)
    return {name: tuple(p for p in params if p.knob.group == name) for name in names}


@cache
def in_role(model: type[BaseModel], role: Role) -> Param | None:
    """The parameter of a request that has this role; None: it has none."""
    return next((param for param in describe(model) if param.knob.role == role), None)


def value_in_role(request: BaseModel, role: Role) -> Any:
    """The value of that parameter; None where there is none."""
    param = in_role(type(request), role)
    return None if param is None else getattr(request, param.name)


def written_in_role(request: BaseModel, **values: object) -> dict[str, Any]:
    """The values by role, as an update of the request's fields; a role that it lacks is left
    out.
    """
    found = ((in_role(type(request), cast("Role", role)), value) for role, value in values.items())
    return {param.name: value for param, value in found if param is not None}


def task_of(request: BaseModel) -> str:
    """The task of a request: the word that identifies its kind within its family."""
    return str(getattr(request, TASK))


def stand_in(model: type[BaseModel], name: str) -> float | str | None:
    """The fallback value of a field that is None; None if it has no fallback."""
    return next(p for p in describe(model) if p.name == name).knob.stand_in


def _param(name: str, field: FieldInfo, wording: Mapping[str, Any]) -> Param:
    inner, optional = _without_none(field.annotation)
    many = get_origin(inner) is tuple
    if many:
        inner = get_args(inner)[0]
    while get_origin(inner) is Annotated:
        inner = get_args(inner)[0]
    literal = get_args(inner) if get_origin(inner) is Literal else ()
    listed = metadata(field.metadata, Choices)
    split = metadata(field.metadata, Many)
    knob = metadata(field.metadata, Knob)
    if knob is None:
        raise TypeError(f"field {name!r} has no Knob")
    kind = str if literal else inner
    if kind not in (bool, int, float, str, Path):
        raise TypeError(f"field {name!r} has a type no face can show: {kind}")
    return Param(
        name=name,
        kind=kind,
        default=None if field.is_required() else field.default,
        required=field.is_required(),
        optional=optional,
        many=many,
        split=split.at if split else "",
        limit=metadata(field.metadata, Limit),
        choices=listed.values if listed else literal,
        knob=replace(knob, **wording),
    )


def _in_order(params: Iterable[Param], first: Iterable[str]) -> tuple[Param, ...]:
    """Parameters grouped by heading: first those in `first`, in that order, then all others."""
    params = tuple(params)
    order = list(dict.fromkeys((*first, *(p.knob.group for p in params))))
    return tuple(sorted(params, key=lambda p: order.index(p.knob.group)))


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, UnionType):
        rest = [a for a in get_args(annotation) if a is not NoneType]
        if len(rest) != 1:
            raise TypeError(f"a field is of one type or None, not {annotation}")
        return rest[0], True
    return annotation, False


def _kind_words(param: Param) -> str:
    if param.choices:
        return ("any of " if param.many else "one of ") + ", ".join(param.choices)
    if param.kind is bool:
        return "true or false"
    if param.many:
        return {int: "whole numbers", float: "numbers", Path: "paths of files"}[param.kind]
    if param.kind is Path:
        return "the path of a file"
    if param.kind is str:
        most = param.limit
        return "text" if most is None else f"text of up to {plain(most.maximum)} characters"
    noun = "a whole number" if param.kind is int else "a number"
    limit = param.limit
    if limit is None:
        return noun
    unit = f" {param.knob.unit}" if param.knob.unit else ""
    return f"{noun} from {plain(limit.minimum)} to {plain(limit.maximum)}{unit}"


def plain(number: float) -> str:
    """A number in plain notation: 600 for 600.0, 2^64 in full."""
    return str(int(number)) if number == int(number) else f"{number:.6g}"
