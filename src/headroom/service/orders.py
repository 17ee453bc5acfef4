"""Reads requests of clients: any request of any family, whose file fields hold ids of uploads."""

from __future__ import annotations

import json
import re

from fastapi import Request as HttpRequest
from pydantic import JsonValue

from headroom.engine.names import inputs_of
from headroom.errors import InvalidRequest, UnknownId
from headroom.files import parse_json
from headroom.jobs.files import Files
from headroom.models.outputs import SongSheet
from headroom.params.describe import TASK, task_of
from headroom.params.request import Request
from headroom.service.work import Work

ID = re.compile(r"[A-Za-z0-9_-]{20}")
ID_WORDS = "the id of an uploaded file, as POST /v1/files answers"


async def read_object(http: HttpRequest) -> dict[str, JsonValue]:
    """The JSON object in a body. Raises InvalidRequest."""
    body = await http.body()
    try:
        given = parse_json(body)
    except ValueError as error:
        raise InvalidRequest(
            "body", body[:200].decode("utf-8", "replace"), f"JSON ({error})"
        ) from None
    if not isinstance(given, dict):
        raise InvalidRequest("body", given, 'a JSON object, as {"task": "text2music", …}')
    return given


def read_order(
    given: dict[str, JsonValue],
    family: str,
    model: str | None,
    first: dict[str, JsonValue] | None = None,
) -> tuple[Work, Request]:
    """A request of a client: as it is stored, and itself. Raises InvalidRequest.

    `first` asks for a song sheet that fills what the request leaves open.
    """
    whole = {"family": family, "model": model, "request": given, "first": first}
    asked = Work.of(json.dumps(whole))
    request, before = asked.read(), asked.read_first()
    if before is not None and before.makes != SongSheet.kind:
        raise InvalidRequest("first", task_of(before), "a request for a song sheet")
    for one in (request, before):
        for field, places in inputs_of(one).items() if one is not None else ():
            for place in places:
                if not ID.fullmatch(str(place)):
                    raise InvalidRequest(field, str(place), ID_WORDS)
    stored = {"request": _stored(request), "first": None if before is None else _stored(before)}
    return asked.model_copy(update=stored), request


def _stored(request: Request) -> dict[str, JsonValue]:
    """The fields of a request that are set, and its task."""
    return {**request.model_dump(mode="json", exclude_unset=True), TASK: task_of(request)}


def check_files(request: Request, files: Files, owner: str) -> None:
    """Raise InvalidRequest for a file that the caller does not have."""
    for field, places in inputs_of(request).items():
        for place in places:
            try:
                files.get(str(place), owner)
            except UnknownId as error:
                raise InvalidRequest(field, str(place), ID_WORDS) from error
