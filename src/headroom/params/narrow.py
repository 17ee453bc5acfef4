"""Parameters with tighter limits for display: those of a model variant, or of this machine.

They are used for help, schema and sliders, and validate nothing: values beyond a limit are clamped
once, by `params.clamp`, whatever their origin.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from headroom.params.clamp import in_force
from headroom.params.describe import TASK, Param
from headroom.params.knob import Limit, bound


def narrow(params: Sequence[Param], limits: Mapping[str, Limit]) -> tuple[Param, ...]:
    """The parameters with tightened limits; a limit wider than their own changes nothing."""
    return tuple(replace(param, limit=in_force(param, limits)) for param in params)


def without(params: Sequence[Param], names: Collection[str]) -> tuple[Param, ...]:
    """The parameters except those named."""
    return tuple(param for param in params if param.name not in names)


def schema(model: type[BaseModel], params: Sequence[Param]) -> dict[str, Any]:
    """The JSON schema of a request, with only these parameters and their limits."""
    shown = model.model_json_schema()
    kept = {param.name: param for param in params}
    properties = shown["properties"]
    for name in [name for name in properties if name != TASK and name not in kept]:
        del properties[name]
    for name, param in kept.items():
        if param.limit is not None:
            bound(properties[name], param.limit)
    return shown
