"""Limits that the model and the settings put on a request, beyond the request's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from headroom.memory.limits import Terms
from headroom.memory.limits import limits as in_force
from headroom.models.base import OfUsualLength, Planned
from headroom.params.clamp import Note
from headroom.params.describe import describe
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.settings import Settings

R = TypeVar("R", bound=Request)
LEAST_SECONDS = 1.0


def limits(
    request: Request, model: Mapping[str, Limit], settings: Settings, found: Terms
) -> Mapping[str, Limit]:
    """The model's limits by field, tightened by those in force on this machine.

    No field that the request lacks is added.
    """
    with_lm = found.init_lm and asks(request) is not None
    tighter = in_force(found, with_lm, *caps_of(settings))
    every = dict(model)
    for name, limit in tighter.items():
        own = next((p.limit for p in describe(type(request)) if p.name == name), None)
        if own is not None:
            every[name] = every.get(name, own).tightened(limit)
    return every


def asks(request: Request) -> str | None:
    """The field by which the request asks for a language model; None if it does not."""
    return request.asks if isinstance(request, Planned) else None


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


def most_seconds(allowed: Mapping[str, Limit]) -> float:
    """The longest song that these limits allow; infinite where they do not limit it."""
    return allowed["duration"].maximum if "duration" in allowed else math.inf


def usual_inside(request: R, most: float) -> tuple[R, tuple[Note, ...]]:
    """The request, with its length set where the default exceeds `most` seconds; and a note."""
    usual = request.usual_seconds if isinstance(request, OfUsualLength) else None
    if usual is None or usual <= most:
        return request, ()
    note = Note("duration", f"{usual:g} (left open)", most, f"a song is at most {most:g} s here")
    return request.model_copy(update={"duration": most}), (note,)


def batch_default(request: R, settings: Settings) -> R:
    """The request with the settings' batch size, unless it sets its own."""
    count = settings.batch_size
    asked = request.model_fields_set
    if count is None or "batch_size" not in type(request).model_fields:
        return request
    if asked & {"batch_size", "seeds"}:
        return request
    return request.model_copy(update={"batch_size": count})
