"""The same parameters with tighter limits: those of a model variant, or of this machine.

This informs displays (help, schema, sliders). It validates nothing: what is asked beyond a limit is
clamped once, by `params.clamp`, wherever it came from.
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
    """The parameters with the limits tightened; a limit wider than their own changes nothing."""
    return tuple(replace(param, limit=in_force(param, limits)) for param in params)


def without(params: Sequence[Param], names: Collection[str]) -> tuple[Param, ...]:
    """The parameters but those named."""
    return tuple(param for param in params if param.name not in names)


def schema(model: type[BaseModel], params: Sequence[Param]) -> dict[str, Any]:
    """The JSON schema of a request showing these parameters and their limits, and no others."""
    shown = model.model_json_schema()
    kept = {param.name: param for param in params}
    properties = shown["properties"]
    for name in [name for name in properties if name != TASK and name not in kept]:
        del properties[name]
    for name, param in kept.items():
        if param.limit is not None:
            bound(properties[name], param.limit)
    return shown
