"""What may be asked here beside the request's own limits: the model's and the settings'."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

from headroom.models.base import AnyModel
from headroom.params.describe import describe
from headroom.params.knob import Limit
from headroom.params.request import Request
from headroom.settings import Settings

R = TypeVar("R", bound=Request)


def limits(request: Request, model: AnyModel, settings: Settings) -> Mapping[str, Limit]:
    """By field: the model's limits, tightened by the settings. Names no field the request lacks."""
    found = dict(model.limits(request))
    for name, most, variable in (
        ("duration", settings.max_duration, "HEADROOM_MAX_DURATION"),
        ("batch_size", settings.max_batch_size, "HEADROOM_MAX_BATCH_SIZE"),
    ):
        own = next((p.limit for p in describe(type(request)) if p.name == name), None)
        if own is not None and most is not None:
            base = found.get(name, own)
            set_here = Limit(-math.inf, most, f"{variable} is {most:g}")
            found[name] = base.tightened(set_here)
    return found


def batch_default(request: R, settings: Settings) -> R:
    """The request with the settings' batch size, where it does not say one itself."""
    count = settings.batch_size
    asked = request.model_fields_set
    if count is None or "batch_size" not in type(request).model_fields:
        return request
    if asked & {"batch_size", "seeds"}:
        return request
    return request.model_copy(update={"batch_size": count})
