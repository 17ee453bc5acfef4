"""Limits that the model and the settings put on a request, beyond the request's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from headroom.errors import InvalidRequest
from headroom.memory.policy import Policy
from headroom.models.base import OfUsualLength, Planned
from headroom.params.clamp import Note, change
from headroom.params.describe import describe, in_role
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.reasons import reason
from headroom.settings import Settings

R = TypeVar("R", bound=Request)
LEAST_SECONDS = 1.0


def request_limits(
    request: Request, model: Mapping[str, Limit], settings: Settings, policy: Policy
) -> Mapping[str, Limit]:
    """The model's limits by field, tightened by those in force on this machine.

    No field that the request lacks is added.
    """
    with_lm = request.uses_language_model or (policy.init_lm and asks(request) is not None)
    tighter = policy.limits(with_lm, *caps_of(settings))
    limits = dict(model)
    for role, limit in tighter.items():
        param = in_role(type(request), role)
        if param is not None and param.limit is not None:
            limits[param.name] = limits.get(param.name, param.limit).tightened(limit)
    return limits


def asks(request: Request) -> str | None:
    """The field by which the request asks for a language model; None if it does not."""
    return request.asks if isinstance(request, Planned) else None


def check_limits(request: Request) -> None:
    """Raise InvalidRequest for a number beyond its limit, in a request that is not clamped."""
    for param in () if request.clamps else describe(type(request)):
        value = getattr(request, param.name)
        if change(param, value) is not None:
            raise InvalidRequest(param.name, value, param.allowed())


Cap: TypeAlias = tuple[str, float] | None


def caps_of(settings: Settings) -> tuple[Cap, Cap]:
    """The longest song and largest batch the settings allow, and the names of those settings.

    The longest song is never less than one second, whatever a setting says.
    """

    def cap(name: str, value: float | None, least: float) -> Cap:
        return None if value is None else (settings.spelt(name), max(value, least))

    return (
        cap("max_duration", settings.max_duration, LEAST_SECONDS),
        cap("max_batch_size", settings.max_batch_size, 1),
    )


def most_seconds(
    request: Request, allowed: Mapping[str, Limit], policy: Policy, settings: Settings
) -> float:
    """The longest song that these limits of a request allow, or those of this machine for a request
    without a length; infinite where they do not limit it.
    """
    param = in_role(type(request), "seconds")
    if param is None:
        limit = policy.limits(request.uses_language_model, *caps_of(settings)).get("seconds")
    else:
        limit = allowed.get(param.name)
    return math.inf if limit is None else limit.maximum


def usual_inside(request: R, most: float) -> tuple[R, tuple[Note, ...]]:
    """The request, with its length set where the default exceeds `most` seconds; and a note."""
    usual = request.usual_seconds if isinstance(request, OfUsualLength) else None
    param = in_role(type(request), "seconds")
    if param is None or usual is None or usual <= most:
        return request, ()
    why = reason("longest_here", most=most)
    note = Note(param.name, f"{usual:g} (left open)", most, why)
    return request.model_copy(update={param.name: most}), (note,)


def batch_default(request: R, settings: Settings) -> R:
    """The request with the settings' batch size, unless it sets its own."""
    param = in_role(type(request), "count")
    if settings.batch_size is None or param is None:
        return request
    if request.model_fields_set & {param.name, "seeds"}:
        return request
    return request.model_copy(update={param.name: settings.batch_size})
