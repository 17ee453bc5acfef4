"""Clamps the arguments of a call to the limits of this machine. No torch."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headroom.models.acestep.requests.songs import Text2Music
from headroom.params.request import snake, spellings


class Validate(Protocol):
    """Length, songs, and whether a language model is used → both within limits, a warning."""

    def __call__(
        self, duration: float, batch_size: int, use_lm: bool | None = None
    ) -> tuple[float, int, str]: ...


@dataclass(frozen=True, slots=True)
class ClampedCall:
    """The arguments to call a function with, and what was changed in them."""

    args: tuple[Any, ...]
    named: Mapping[str, Any]
    warnings: tuple[str, ...]


def clamp_call(
    function: Callable[..., object],
    args: Sequence[Any],
    named: Mapping[str, Any],
    validate: Validate,
) -> ClampedCall:
    """The arguments with lengths and numbers of songs reduced to the limits.

    They are recognized by their names in the function's signature, or among its `**` arguments; in
    an object, by the names of its attributes, in which case a copy of the object is passed on.
    Arguments that do not fit the function are passed on unchanged.
    """
    try:
        bound = inspect.signature(function).bind(*args, **named)
    except (TypeError, ValueError):
        return ClampedCall(tuple(args), dict(named), ())
    extra = next(
        (p.name for p in bound.signature.parameters.values() if p.kind is p.VAR_KEYWORD), None
    )
    places = [bound.arguments, *([bound.arguments[extra]] if extra in bound.arguments else [])]
    use_lm = next((use for place in places if (use := _uses_lm(place)) is not None), None)
    warnings: list[str] = []
    for place in places:
        for name, value in list(place.items()):
            if _kind(name) is not None:
                place[name] = _clamp_value(name, value, use_lm, validate, warnings)
            elif _has_attributes(value):
                place[name] = _clamp_object(value, use_lm, validate, warnings)
    return ClampedCall(bound.args, bound.kwargs, tuple(warnings))


def _kind(name: str) -> str | None:
    """What a name means: `duration`, `batch_size`, or None."""
    field = spellings(Text2Music).get(snake(name))
    return field if field in ("duration", "batch_size") else None


def _has_attributes(value: object) -> bool:
    return hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value)


def _clamp_value(
    name: str, value: object, use_lm: bool | None, validate: Validate, warnings: list[str]
) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if _kind(name) == "duration":
        clamped: float
        clamped, _, warning = validate(value, 1, use_lm)
    else:
        _, clamped, warning = validate(0.0, int(value), use_lm)
    if warning:
        warnings.append(warning)
    return clamped if warning else value


def _clamp_object(
    settings: object, use_lm: bool | None, validate: Validate, warnings: list[str]
) -> object:
    changes = {}
    for name, value in vars(settings).items():
        clamped = _clamp_value(name, value, use_lm, validate, warnings) if _kind(name) else value
        if clamped is not value:
            changes[name] = clamped
    if not changes:
        return settings
    settings = copy.copy(settings)
    for name, value in changes.items():
        setattr(settings, name, value)
    return settings


def _uses_lm(place: Mapping[str, Any]) -> bool | None:
    """Whether a call's `thinking`, passed itself or in an object, requests a language model."""
    if isinstance(place.get("thinking"), bool):
        return bool(place["thinking"])
    values = (getattr(v, "thinking", None) for v in place.values() if _has_attributes(v))
    return next((use for use in values if isinstance(use, bool)), None)
