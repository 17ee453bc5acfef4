"""The one form in which the service answers with an error."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse
from starlette.types import Scope

from headroom.engine.wire import FORMAT, Json, error_json
from headroom.errors import (
    Conflict,
    DatabaseFailed,
    DoesNotFit,
    HeadroomError,
    InvalidCheckpoint,
    InvalidDatabase,
    InvalidFile,
    InvalidInput,
    InvalidOutput,
    NotSupportedYet,
    QueueFull,
    StorageFailed,
    StorageFull,
    TooLarge,
    UnknownId,
    WeightsMissing,
)
from headroom.service.envelope import PATHS, in_old_form

_STATUS: tuple[tuple[type[HeadroomError], int], ...] = (
    (UnknownId, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (InvalidCheckpoint, 503),
    (InvalidFile, 503),
    (InvalidOutput, 503),
    (InvalidDatabase, 503),
    (InvalidInput, 422),
    (DoesNotFit, 422),
    (QueueFull, 429),
    (NotSupportedYet, 501),
    (StorageFull, 507),
    (StorageFailed, 503),
    (DatabaseFailed, 503),
    (WeightsMissing, 503),
)
# Errors about the server, which name its folders and hosts: their texts are for its log.
_OF_SERVER: Mapping[type[HeadroomError], str] = {
    InvalidCheckpoint: "a model on the server cannot be used; its log says why.",
    InvalidFile: "a file on the server cannot be read; its log says why.",
    InvalidOutput: "the server cannot write what was made; its log says why.",
    InvalidDatabase: "the database of the server cannot be used; its log says why.",
    StorageFailed: "the storage of the server failed; its log says why.",
    DatabaseFailed: "the database of the server failed; its log says why.",
}


CHAT = ("/v1/chat/completions", "/api/v1/chat/completions")
SPEECH = ("/v1/audio/speech", "/v1/audio/speech/upload")
OPENAI = (*CHAT, *SPEECH)
"""Paths whose errors have the form of OpenAI's API."""

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """A request that is refused before it is understood: a status, and the parts of the answer."""

    def __init__(
        self, status: int, code: str, message: str, field: str = "", allowed: str = "", **more: str
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.values: Json = {}
        if field:
            self.values = {"field": field, "allowed": allowed}
        self.headers = {name.replace("_", "-"): value for name, value in more.items()}


def status_of(error: HeadroomError) -> int:
    """The HTTP status of an error; 500 for those that no request causes."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def shown(error: HeadroomError) -> Json:
    """An error as a client sees it: in its usual form, without what only the server knows."""
    form = error_json(error)
    for kind, text in _OF_SERVER.items():
        if isinstance(error, kind):
            return form | {"message": text, "values": {}}
    if isinstance(error, WeightsMissing):
        message = f"model {error.model!r} is not installed on the server."
        return form | {"message": message, "values": {"model": error.model}}
    return form


def answer(
    status: int, form: Json, scope: Scope, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error as a response to the request of a scope, in the form that its path has."""
    told = form | {"request_id": request_id(scope)}
    if scope["path"] in OPENAI:
        status, told = in_openai_form(status, told)
    if scope["path"] in PATHS:
        status, told = in_old_form(status, told)
    return JSONResponse(told, status, headers)


def refused(refusal: Refusal, scope: Scope) -> JSONResponse:
    """A refusal as a response."""
    form = form_of(refusal.code, refusal.message, refusal.values)
    return answer(refusal.status, form, scope, refusal.headers)


def request_id(scope: Scope) -> str:
    """The number of a request, as in its header X-Request-Id."""
    return str(scope.get("state", {}).get("request_id", ""))


def in_openai_form(status: int, form: Json) -> tuple[int, Json]:
    """The status and the body of an error in the form of OpenAI's API."""
    status = 400 if status == 422 else status
    usual = "invalid_request_error" if status < 500 else "server_error"
    values = form["values"]
    error: Json = {
        "message": form["message"],
        "type": _OPENAI_TYPES.get(status, usual),
        "param": values.get("field") if isinstance(values, dict) else None,
        "code": form["code"],
        "values": values,
    }
    return status, {"error": error | {n: form[n] for n in ("request_id",) if n in form}}


def form_of(code: str, message: str, values: Json | None = None) -> Json:
    """The form of an error that has no class."""
    return {"format": FORMAT, "code": code, "message": message, "values": values or {}}
