"""The inputs of tools as JSON schemas, read from the declarations of the requests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from headroom.engine.wire import Json
from headroom.params.describe import TASK, Param, describe
from headroom.params.knob import Limit
from headroom.params.narrow import narrow, schema
from headroom.params.request import Request

MORE = "more"
_FILE = "The id of a file: as send_audio answers, or of an output of a job."
_MORE: Json = {
    "type": "object",
    "description": "Any other field of the task by its name; the tool limits lists them.",
}


def input_of(
    kind: type[Request], limits: Mapping[str, Limit], further: Mapping[str, JsonValue]
) -> Json:
    """The input of a tool that asks for a request of this kind: the fields that most need, within
    these limits, and `further` properties."""
    params = narrow(describe(kind), limits)
    basic = [param for param in params if param.knob.basic or param.required] or list(params)
    made = schema(kind, basic)
    properties: Json = {}
    for param in basic:
        shown = {n: v for n, v in made["properties"][param.name].items() if n != "title"}
        properties[param.name] = _as_id(param) if param.kind is Path else shown
    properties |= {MORE: _MORE, **further}
    required: list[JsonValue] = [param.name for param in basic if param.required]
    return {"type": "object", "properties": properties, "required": required}


def fields_of(kind: type[Request], limits: Mapping[str, Limit]) -> Json:
    """Every field of a kind of request: its help, what is allowed, its default, and its limits."""
    return {
        param.name: {
            "help": param.knob.about,
            "allowed": _FILE if param.kind is Path else param.allowed(),
            "default": None if param.default is None else str(param.default),
        }
        for param in narrow(describe(kind), limits)
        if param.name != TASK
    }


def input_with(required: tuple[str, ...] = (), **properties: JsonValue) -> Json:
    """The input of a tool with these properties alone."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _as_id(param: Param) -> Json:
    one: Json = {"type": "string"}
    kind: Json = {"type": "array", "items": one} if param.many else one
    return {**kind, "description": f"{param.knob.help} {_FILE}"}
