"""Clamps every number of a request to its limits, once, with a note for each change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from headroom.params.describe import Param, describe
from headroom.params.knob import Limit
from headroom.params.note import Note as Note
from headroom.params.read import validate
from headroom.params.request import Request

R = TypeVar("R", bound=Request)
NO_LIMITS: Mapping[str, Limit] = MappingProxyType({})


def change(param: Param, asked: object, limits: Mapping[str, Limit] = NO_LIMITS) -> Note | None:
    """The note on how the limits change a parameter's value; None if they do not."""
    limit = in_force(param, limits)
    if limit is None or asked is None:
        return None
    used = _inside(param, asked, limit)
    return None if used == asked else Note(param.name, asked, used, limit.why)


def clamp(request: R, limits: Mapping[str, Limit] = NO_LIMITS) -> tuple[R, tuple[Note, ...]]:
    """The request, clamped to its own limits and the tighter ones given, and a note per change.

    A field that is None stays None. Raises InvalidRequest if the clamped numbers contradict each
    other (a region entirely beyond its limit would end where it starts).
    """
    notes = [
        note
        for param in describe(type(request))
        if (note := change(param, getattr(request, param.name), limits)) is not None
    ]
    if not notes:
        return request, ()
    kept = {name: getattr(request, name) for name in request.model_fields_set}
    return validate(type(request), kept | {n.field: n.used for n in notes}), tuple(notes)


def in_force(param: Param, limits: Mapping[str, Limit]) -> Limit | None:
    """The parameter's own limit, tightened by those given for it and for the field it follows."""
    limit = param.limit
    if limit is None:
        return None
    for name in (param.name, limit.follows):
        if name in limits:
            limit = limit.tightened(limits[name])
    return limit


def _inside(param: Param, asked: object, limit: Limit) -> object:
    if isinstance(asked, tuple):
        return asked[: math.floor(limit.maximum)]
    if isinstance(asked, str):
        return _shortened(asked, math.floor(limit.maximum))
    if not isinstance(asked, int | float):
        raise TypeError(f"{param.name} has a limit and holds {asked!r}")
    if param.kind is int:  # a fractional bound is rounded inwards
        return max(min(asked, math.floor(limit.maximum)), math.ceil(limit.minimum))
    return max(min(asked, limit.maximum), limit.minimum)


def _shortened(text: str, most: int) -> str:
    """At most `most` characters of a text, cut after the last whole line or word that ends in the
    second half of them, if there is one."""
    if len(text) <= most:
        return text
    cut = text[:most]
    for end in ("\n", " "):
        at = cut.rfind(end)
        if 2 * at >= most:
            return cut[:at].rstrip()
    return cut
