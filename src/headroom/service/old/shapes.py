"""The JSON schemas of ACE-Step's REST interface: what its routes take and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headroom.models.family import import_named
from headroom.models.registry import family_named
from headroom.service.envelope import OK, UPLOADS
from headroom.service.shapes import (
    OBJECT,
    TEXT,
    TRUTH,
    WHOLE,
    Schema,
    at_least,
    list_of,
    or_null,
    ref,
    whole,
)

_CODE: Schema = {"type": "integer"}
_NUMBER: Schema = {"type": "number", "minimum": 0}
_EXTRA = or_null({"type": "object", "description": "`notes`: values that are not used, and why."})


def _enveloped(data: Schema) -> Schema:
    """The envelope around data."""
    return whole(
        data=data,
        code={"const": OK},
        error={"type": "null"},
        timestamp=WHOLE | {"description": "Milliseconds since 1970."},
        extra=_EXTRA,
    )


_MODEL = whole(
    name=TEXT, is_default=TRUTH, is_loaded=TRUTH, supported_task_types=list_of(TEXT)
)  # fmt: skip
_LANGUAGE_MODEL = whole(name=TEXT, is_loaded=TRUTH)
_INVENTORY = whole(
    models=list_of(_MODEL),
    default_model=or_null(TEXT),
    lm_models=list_of(_LANGUAGE_MODEL),
    loaded_lm_model=or_null(TEXT),
    llm_initialized=TRUTH,
)
_HEALTH = whole(
    {
        "models_initialized": TRUTH,
        "llm_initialized": TRUTH,
        "loaded_model": or_null(TEXT),
        "loaded_lm_model": or_null(TEXT),
        "gpus": list_of(TEXT),
        "gpu_mapping": OBJECT,
        "device_map": OBJECT,
    },
    status={"const": "ok"},
    service=TEXT,
    version=TEXT,
)
_SHEET = at_least(
    caption=TEXT,
    lyrics=TEXT,
    bpm=or_null(_CODE),
    key_scale=TEXT,
    time_signature=TEXT,
    duration=or_null(_NUMBER),
    vocal_language=TEXT,
)
_ENTRY = whole(
    task_id=TEXT,
    status={"enum": [0, 1, 2]},
    result={"type": "string", "contentMediaType": "application/json"},
    progress_text=TEXT,
)
_STATS = whole(
    jobs=whole(total=WHOLE, queued=WHOLE, running=WHOLE, succeeded=WHOLE, failed=WHOLE),
    queue_size=WHOLE,
    queue_maxsize=WHOLE,
    avg_job_seconds=_NUMBER,
)
_INIT = whole(
    message=TEXT,
    slot={"const": 1},
    loaded_model=or_null(TEXT),
    loaded_lm_model=or_null(TEXT),
    models=list_of(_MODEL),
    lm_models=list_of(_LANGUAGE_MODEL),
    llm_initialized=TRUTH,
)
_ADAPTERS = whole(
    lora_loaded={"const": False},
    use_lora={"const": False},
    lora_scale=_NUMBER,
    adapter_type={"type": "null"},
    adapters=list_of(TEXT),
    scales=OBJECT,
)

OLD_SHAPES: Mapping[str, Schema] = {
    "OldError": whole(
        data={"type": "null"},
        code=_CODE | {"description": "The status of the response."},
        error=TEXT | {"description": "A sentence for people."},
        timestamp=WHOLE,
        extra=ref("Error"),
        detail=TEXT | {"description": "As `error`."},
    ),
    "OldTask": _enveloped(
        whole(
            task_id=TEXT, status={"const": "queued"}, queue_position=WHOLE
        )
    ),
    "OldResults": _enveloped(list_of(_ENTRY)),
    "OldSample": _enveloped(at_least(caption=TEXT, lyrics=TEXT, vocal_language=TEXT)),
    "OldSheet": _enveloped(_SHEET),
    "OldStats": _enveloped(_STATS),
    "OldHealth": _enveloped(_HEALTH),
    "OldModels": _enveloped(_INVENTORY),
    "OldInit": _enveloped(_INIT),
    "OldMessage": _enveloped(whole(message=TEXT)),
    "OldAdapters": _enveloped(_ADAPTERS),
}  # fmt: skip

_TOKEN: Schema = {
    "ai_token": {"type": ["string", "null"], "description": "A key, where no header has one."}
}
_FILE: Schema = {"type": "string", "format": "binary"}
_ANYTHING = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
_SAMPLING = ("temperature", "lm_temperature", "lm_top_k", "lm_top_p", "lm_repetition_penalty")


def body_of(path: str, family: str) -> Schema:
    """The description of the body that a path takes."""
    properties: Schema = {**_TOKEN, **_fields(path, family)}
    schema = {"type": "object", "properties": properties}
    content: Schema = {kind: {"schema": schema} for kind in _ANYTHING}
    if path in UPLOADS:
        named = dict.fromkeys(("reference_audio", "ref_audio", "src_audio", "ctx_audio"), _FILE)
        form = schema | {"properties": {**properties, **named}}
        content["multipart/form-data"] = {"schema": form}
    return {"required": path in UPLOADS, "content": content}


def _fields(path: str, family: str) -> Schema:
    """The fields of a body."""
    if path == "/release_task":
        return _songs(family)
    if path == "/query_result":
        return {"task_id_list": {"anyOf": [list_of(TEXT), TEXT]}}
    if path == "/create_random_sample":
        return {"sample_type": {"enum": ["simple_mode", "custom_mode"]}}
    if path == "/format_input":
        rewritten = ("prompt", "lyrics", "param_obj", *_SAMPLING)
        return {n: f for n, f in _songs(family).items() if n in rewritten}
    if path == "/v1/create_sample":
        described = ("instrumental", "vocal_language", *_SAMPLING)
        known = {n: f for n, f in _songs(family).items() if n in described}
        return {"query": TEXT, **known}
    if path == "/v1/init":
        return {
            "model": or_null(TEXT), "slot": {"enum": [1, "1", None, ""]},
            "init_llm": {"type": ["boolean", "integer", "string", "null"]},
            "lm_model_path": or_null(TEXT),
        }  # fmt: skip
    return {}


def _songs(family: str) -> dict[str, Any]:
    """The fields of a body that asks for songs, under all of their names."""
    place = family_named(family).old_rest
    if place is None:
        return {}
    rest: Any = import_named(place)
    return dict(rest.properties())
