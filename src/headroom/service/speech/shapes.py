"""The JSON schemas of bodies that ask for speech."""

from __future__ import annotations

from headroom.models.registry import speaking_families
from headroom.service.answers import SPEECH
from headroom.service.shapes import Schema, or_null
from headroom.service.speech.ask import EVENTS, FORMATS, SOUND


def speech_content(path: str) -> Schema:
    """What a route for speech takes, by type."""
    body = _body()
    if path == SPEECH[0]:
        return {"application/json": {"schema": body}}
    file = {"type": "string", "format": "binary"}
    names = {name for family in speaking_families() for name in family.speech_rest().files}
    files = dict.fromkeys(sorted(names), file)
    payload = {"type": "string", "contentMediaType": "application/json", "contentSchema": body}
    form = {"type": "object", "required": ["payload"], "properties": {"payload": payload, **files}}
    return {"multipart/form-data": {"schema": form}}


def _body() -> Schema:
    text = {"type": "string"}
    own = {
        "model": or_null({**text, "description": "As GET /v1/models lists them; OpenAI's names."}),
        "input": or_null({**text, "description": "What is spoken."}),
        "voice": or_null({"description": "The id of a voice of GET /v1/voices."}),
        "instructions": or_null({**text, "description": "An emotion, a style or a speed."}),
        "response_format": or_null({"enum": list(FORMATS)}),
        "stream_format": or_null({"enum": [SOUND, EVENTS]}),
        "stream": or_null({"type": "boolean", "description": "Whether wav comes as it is made."}),
        "speed": or_null({"const": 1}),
        "metadata": or_null({"type": "object"}),
    }
    more = {n: p for one in speaking_families() for n, p in one.speech_rest().properties().items()}
    return {
        "type": "object",
        "properties": {**own, **more},
        "additionalProperties": {"description": "A field of the request for speech."},
    }
