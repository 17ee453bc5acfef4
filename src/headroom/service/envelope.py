"""The envelope in which ACE-Step's REST interface answers, errors too."""

from __future__ import annotations

import time

from pydantic import JsonValue

from headroom.engine.wire import Json

POSTS = (
    "/release_task",
    "/query_result",
    "/create_random_sample",
    "/format_input",
    "/v1/create_sample",
    "/v1/init",
    "/v1/reinitialize",
    "/v1/lora/load",
    "/v1/lora/unload",
    "/v1/lora/toggle",
    "/v1/lora/scale",
)
"""Paths that take a key in the body, and bodies of every type."""
UPLOADS = ("/release_task",)
"""Those of them that take files, in forms."""
PATHS = frozenset(
    (*POSTS, "/health", "/v1/stats", "/v1/audio", "/v1/model_inventory", "/v1/lora/status")
)
"""Every path of the interface that is not shared with others."""

OK = 200
_STATUS = {422: 400}  # where the interface documents another status


def wrapped(
    data: JsonValue, code: int = OK, error: str | None = None, extra: JsonValue = None
) -> Json:
    """An answer in the envelope. The time is in milliseconds since 1970."""
    return {
        "data": data,
        "code": code,
        "error": error,
        "timestamp": int(time.time() * 1000),
        "extra": extra,
    }


def in_old_form(status: int, form: Json) -> tuple[int, Json]:
    """The status and the body of an error: the sentence in `error`, and in `detail` for clients
    that look there; the usual form of errors in `extra`."""
    status = _STATUS.get(status, status)
    message = str(form["message"])
    return status, wrapped(None, status, message, form) | {"detail": message}
