"""The OpenAPI document: routes, and every request of every family, told apart by its task."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from headroom.engine.wire import schemas
from headroom.models.registry import family_named
from headroom.params.describe import TASK
from headroom.params.request import Request
from headroom.service.answers import CHAT, OPENAI, SPEECH
from headroom.service.chat.ask import OWN
from headroom.service.config import ServiceConfig
from headroom.service.envelope import PATHS, POSTS
from headroom.service.old.shapes import OLD_SHAPES, body_of
from headroom.service.shapes import REF as _REF
from headroom.service.shapes import SHAPES, json_of, or_null
from headroom.service.speech.shapes import speech_content

_BODIES = (("/v1/jobs", "post"), ("/v1/plan", "post"), ("/v1/limits", "post"))
_CLAMPED = {
    "minimum": "x-minimum",
    "maximum": "x-maximum",
    "maxItems": "x-max-items",
    "maxLength": "x-max-length",
}
_BESIDE = ("title", "description", "default", "examples", "deprecated")  # of a value's own schema
_OF_FRAMEWORK = ("HTTPValidationError", "ValidationError")  # the service answers with Error
_ERROR = json_of("Error", "Why not.")
_CHAT = {
    "type": "object",
    "required": ["messages"],
    "properties": {name: {"description": about} for name, about in OWN.items()},
    "additionalProperties": {"description": "A field of the song's request."},
}
_OLD_ERROR = json_of("OldError", "Why not.")


def document(app: FastAPI, config: ServiceConfig) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, routes=app.routes)
        parts = made.setdefault("components", {}).setdefault("schemas", {})
        for name in _OF_FRAMEWORK:
            parts.pop(name, None)
        parts.update(deepcopy({**SHAPES, **OLD_SHAPES}))
        for name, form in schemas().items():
            parts[f"Wire{name.title()}"] = _flattened(form, f"Wire{name.title()}", parts)
        parts["Request"] = _requests(config.family, parts)
        made["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        made["security"] = [{"bearer": []}, {"key": []}, {}]
        for path, methods in made["paths"].items():
            for method, operation in methods.items():
                _complete(path, method, operation)
                if path in PATHS:
                    operation["responses"]["default"] = _OLD_ERROR
                if path in POSTS:
                    operation["requestBody"] = body_of(path, config.family)
        app.openapi_schema = made
    return app.openapi_schema


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = _ERROR
    if path in OPENAI:
        operation["responses"]["default"] = json_of("ChatError", "Why not.")
    if path in SPEECH:
        operation["requestBody"] = {"required": True, "content": speech_content(path)}
    if path in CHAT:
        content = {"application/json": {"schema": _CHAT}}
        operation["requestBody"] = {"required": True, "content": content}
    if (path, method) in _BODIES:
        content = {"application/json": {"schema": {"$ref": _REF + "Request"}}}
        operation["requestBody"] = {"required": True, "content": content}
    if (path, method) == ("/v1/files", "post"):
        file = {"type": "string", "format": "binary"}
        form = {"type": "object", "required": ["file"], "properties": {"file": file}}
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "audio/*": {"schema": file}},
        }


def _requests(family: str, parts: dict[str, Any]) -> dict[str, Any]:
    """Any request of the family that is meant where none is named, told apart by its task."""
    mapping = {}
    named = family_named(family)
    for task, kind in named.requests.items():
        name = kind.__name__
        form = _clamped(kind, needs_task=task != named.usual)
        parts[name] = _flattened(form, name, parts)
        mapping[task] = _REF + name
    some = [{"$ref": ref} for ref in mapping.values()]
    return {"oneOf": some, "discriminator": {"propertyName": "task", "mapping": mapping}}


def _clamped(kind: type[Request], needs_task: bool) -> dict[str, Any]:
    """The schema of a request. Bounds beyond which a number is clamped, not refused, stand in
    fields of their own: the words of JSON Schema say what is refused."""
    made = kind.model_json_schema(ref_template=_REF + "{model}")
    if kind.clamps:
        for field in made.get("properties", {}).values():
            _rename(field)
    made.setdefault("properties", {}).setdefault(TASK, {})
    made["required"] = sorted({*made.get("required", ()), *([TASK] if needs_task else [])})
    for name, field in made["properties"].items():
        if name not in made["required"]:
            made["properties"][name] = _or_left_out(field)
    return made


def _or_left_out(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field, with null for "not given": clients write what they leave out so."""
    if any(branch.get("type") == "null" for branch in field.get("anyOf", ())):
        return field
    beside = {name: field[name] for name in _BESIDE if name in field}
    return or_null({name: field[name] for name in field if name not in beside}) | beside


def _rename(field: dict[str, Any]) -> None:
    for branch in (field, *field.get("anyOf", ())):
        for name, other in _CLAMPED.items():
            if name in branch:
                branch[other] = branch.pop(name)


def _flattened(form: dict[str, Any], name: str, parts: dict[str, Any]) -> dict[str, Any]:
    """The schema, with its definitions among the parts of the document."""
    inner = form.pop("$defs", {})
    for title, part in inner.items():
        parts.setdefault(title, _moved(part))
    return dict(_moved(form))


def _moved(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: one.replace("#/$defs/", _REF) if key == "$ref" else _moved(one)
            for key, one in value.items()
        }
    return [_moved(one) for one in value] if isinstance(value, list) else value
