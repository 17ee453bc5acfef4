"""The JSON schemas of what the service answers, by the names they have in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from headroom.engine.wire.forms import FORMAT
from headroom.jobs.songs import RATINGS
from headroom.jobs.values import State

Schema = dict[str, Any]

REF = "#/components/schemas/"
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
TRUTH: Schema = {"type": "boolean"}
TIME: Schema = {"type": "number", "description": "Seconds since 1970."}
OBJECT: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """The shape of this name."""
    return {"$ref": REF + name}


def or_null(one: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [one, {"type": "null"}]}


def list_of(of: Schema) -> Schema:
    """A list of them."""
    return {"type": "array", "items": of}


def whole(optional: Mapping[str, Schema] | None = None, **fields: Schema) -> Schema:
    """An object with exactly these fields; the `optional` ones may be missing."""
    return {
        "type": "object",
        "required": list(fields),
        "properties": {**fields, **(optional or {})},
        "additionalProperties": False,
    }


def at_least(**fields: Schema) -> Schema:
    """An object with these fields and others."""
    return {"type": "object", "required": list(fields), "properties": fields}


_CODE: Schema = {"type": "string", "description": "A word for programs, such as queue_full."}
_MESSAGE: Schema = {"type": "string", "description": "A sentence for people."}
_VALUES: Schema = {
    "type": "object",
    "description": "What the sentence was written from; of an invalid request: field, value, "
    "allowed.",
}
_ID: Schema = {"type": "string", "description": "As in the header X-Request-Id."}
_OFFERED = at_least(
    id=TEXT, object={"const": "model"}, created=WHOLE, owned_by=TEXT, name=TEXT,
    input_modalities=list_of(TEXT), output_modalities=list_of(TEXT), pricing=OBJECT,
    is_loaded=TRUTH, loaded_on=list_of(TEXT), is_default=TRUTH,
)  # fmt: skip
_KNOWN_MODEL = at_least(
    name=TEXT, kind=TEXT, installed=TRUTH, ready=TRUTH, tasks=list_of(TEXT), is_loaded=TRUTH,
    loaded_on=list_of(TEXT), is_default=TRUTH, supported_task_types=list_of(TEXT),
)  # fmt: skip

SHAPES: Mapping[str, Schema] = {
    "Error": {
        "type": "object",
        "required": ["format", "code", "message", "values", "request_id"],
        "properties": {
            "format": {"const": FORMAT},
            "code": _CODE,
            "message": _MESSAGE,
            "values": _VALUES,
            "request_id": _ID,
        },
    },
    "ChatError": whole(
        error=whole(
            message=_MESSAGE,
            type={"type": "string", "description": "A kind of error of OpenAI's API."},
            param=or_null({"type": "string", "description": "The field that is wrong."}),
            code=_CODE,
            values=_VALUES,
            request_id=_ID,
        )
    ),
    "Completion": at_least(
        id=TEXT, object={"const": "chat.completion"}, created=WHOLE, model=TEXT,
        choices=list_of(at_least(index=WHOLE, message=OBJECT, finish_reason=TEXT)),
        usage=OBJECT, notes=list_of(ref("WireNote")), job=TEXT,
    ),
    "Output": whole(
        number={"type": "integer", "minimum": 1},
        url=TEXT,
        file=TEXT,
        title=TEXT,
        tags=OBJECT,
        rating=or_null({"enum": list(RATINGS)}),
        parent=or_null(TEXT),
        kind=TEXT,
        seconds=or_null({"type": "number", "minimum": 0}),
        size=WHOLE,
        created=TIME,
    ),
    "Job": whole(
        {"position": WHOLE | {"description": "How many jobs are made before it."}},
        id=TEXT,
        state={"enum": list(get_args(State))},
        created=TIME,
        started=or_null(TIME),
        ended=or_null(TIME),
        deadline=or_null(TIME),
        priority={"type": "integer"},
        attempt=WHOLE,
        cancelling=TRUTH,
        events=WHOLE,
        asked=whole({"first": OBJECT}, family=TEXT, model=or_null(TEXT), request=OBJECT),
        reused=or_null(
            TEXT | {"description": "The job whose songs it was answered with, if it was."}
        ),
        error=or_null(ref("WireError")),
        result=or_null(ref("WireResult")),
        outputs=list_of(ref("Output")),
    ),
    "Jobs": whole(jobs=list_of(ref("Job")), next=or_null(TEXT)),
    "Session": whole(key=TEXT, admin=TRUTH, token=or_null(TEXT)),
    "File": whole(
        id=TEXT,
        name=TEXT,
        kind=TEXT,
        seconds=or_null({"type": "number", "minimum": 0}),
        size=WHOLE,
        sha256={"type": "string", "pattern": "^[0-9a-f]{64}$"},
        created=TIME,
        expires=or_null(TIME),
    ),
    "Planned": at_least(
        plan=or_null(ref("WirePlan")), refusal=or_null(ref("WireError")), text=TEXT,
        model=TEXT, task=TEXT, fits=TRUTH, duration={"type": "number"}, songs=WHOLE,
        policy=TEXT, budget_bytes=WHOLE, notes=list_of(ref("WireNote")),
    ),
    "Limits": {
        "allOf": [
            ref("WireLimits"),
            at_least(
                policy=TEXT, tier=or_null(TEXT), language_model=TRUTH, card_bytes=WHOLE
            ),
        ]
    },
    "Models": at_least(
        family=TEXT, tasks=list_of(TEXT), models=list_of(_KNOWN_MODEL),
        object={"const": "list"}, data=list_of(_OFFERED),
    ),
    "Engines": whole(
        engines=list_of(
            at_least(engine=TEXT, told=TIME, job=or_null(TEXT), engines=list_of(OBJECT))
        )
    ),
    "Errands": whole(
        errands=list_of(
            whole(
                id=TEXT, engine=TEXT, verb=TEXT, state={"enum": ["waiting", "done", "failed"]},
                status=or_null(OBJECT), error=or_null(ref("WireError")),
            )
        )
    ),
    "Voices": whole(
        object={"const": "list"},
        data=list_of(whole(id=TEXT, object={"const": "voice"}, name=TEXT, text=TEXT)),
    ),
    "Tags": whole(families={"type": "object", "additionalProperties": OBJECT}),
    "Live": whole(live={"const": True}),
    "Ready": whole(
        {"checks": OBJECT, "jobs": OBJECT, "machine": or_null(TEXT), "policy": TEXT},
        ready=TRUTH,
    ),
}  # fmt: skip


def json_of(name: str, description: str = "As asked for.") -> Schema:
    """The description of a response with one of the shapes."""
    return {"description": description, "content": {"application/json": {"schema": ref(name)}}}


def ok(name: str) -> dict[int | str, Schema]:
    """The responses of a route that answers with one of the shapes."""
    return {200: json_of(name)}


def bytes_of(kind: str, description: str) -> Schema:
    """The description of a response that is no JSON."""
    text = {"schema": {"type": "string", "format": "binary"}}
    return {"description": description, "content": {kind: text}}


def events_of(description: str) -> Schema:
    """The description of a stream of server-sent events, whose data are JSON."""
    fields = {"event": TEXT, "id": TEXT, "retry": WHOLE}
    data = {"type": "string", "contentMediaType": "application/json"}
    one = {"type": "object", "properties": {**fields, "data": data}}
    return {"description": description, "content": {"text/event-stream": {"itemSchema": one}}}


def empty(description: str) -> Schema:
    """The description of a response without a body."""
    return {"description": description}
