"""The engine processes: what they have in memory, how they give it back, which model they load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response
from pydantic import JsonValue

from headroom.engine.wire import Json, error_json
from headroom.errors import Cancelled, Conflict, InvalidRequest, UnknownId
from headroom.models.registry import check_family, family_named
from headroom.service.callers import Caller
from headroom.service.doors import Doors, admin_of, caller_of, doors_of
from headroom.service.errands import (
    MOST_SECONDS,
    WAIT_SECONDS,
    engines_view,
    errands_view,
    run_errand,
)
from headroom.service.orders import read_object
from headroom.service.shapes import json_of
from headroom.service.work import check_model
from headroom.weights.order import named

router = APIRouter(tags=["engines"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]
Admin = Annotated[Caller, Depends(admin_of)]
_BOUNDS: dict[str, JsonValue] = {"minimum": 0, "maximum": MOST_SECONDS}
Wait = Annotated[float, Query(json_schema_extra=_BOUNDS)]
_RAN: dict[int | str, dict[str, Any]] = {
    200: json_of("Errands", "All engine processes have done it, or failed."),
    202: json_of("Errands", "It is still to be done; GET /gpu/errands/{id} tells the outcome."),
}


@router.get("/gpu/status", responses={200: json_of("Engines")}, summary="What is in memory")
def status(doors: Here, caller: Who) -> Json:
    """Every engine process with its card: the memory, the engines that are open with each of their
    parts, the processes that share its card, the idle timeout, the job at work. Bytes, and
    seconds."""
    return {"engines": [*engines_view(doors)]}


@router.post("/gpu/offload", responses=_RAN, summary="Move parts off the cards")
async def offload(
    http: HttpRequest, doors: Here, caller: Admin, wait: Wait = WAIT_SECONDS
) -> Response:
    """The body may name an `engine` and a `part`; else all. Parts in use leave when their work
    ends. What left comes back when it is needed."""
    return await _ran(http, doors, "offload", ("part",), wait)


@router.post("/gpu/release", responses=_RAN, summary="Drop parts from the cards and from memory")
async def release(
    http: HttpRequest, doors: Here, caller: Admin, wait: Wait = WAIT_SECONDS
) -> Response:
    """The same, and host memory is given back too: what is needed again is read from the disk."""
    return await _ran(http, doors, "release", ("part",), wait)


@router.post("/gpu/timeout", responses=_RAN, summary="When idle parts leave the cards")
async def timeout(
    http: HttpRequest, doors: Here, caller: Admin, wait: Wait = WAIT_SECONDS
) -> Response:
    """The body has the `seconds`, and may name an `engine`. Until the process ends; only where
    memory is managed (`HEADROOM_GPU_MANAGEMENT`)."""
    return await _ran(http, doors, "timeout", ("seconds",), wait)


@router.post("/v1/models/load", responses=_RAN, summary="Load a model, and use it from now on")
async def load(
    http: HttpRequest, doors: Here, caller: Admin, wait: Wait = WAIT_SECONDS
) -> Response:
    """The body may name `family`, `model`, `language_model` and an `engine`. It is done between two
    jobs; from then on it is the model of jobs that name none, until the service starts anew."""
    return await _ran(http, doors, "load", ("family", "model", "language_model"), wait)


@router.post("/v1/models/download", responses=_RAN, summary="Download models")
async def download(http: HttpRequest, doors: Here, caller: Admin, wait: Wait = 0.0) -> Response:
    """The body has the names of `models`, and may name `family` and an `engine`. What they need is
    downloaded with them, what is there is not; a machine with several engine processes downloads
    once. GET /gpu/status tells how far it is. No job waits for it, and none uses it before POST
    /v1/models/load."""
    return await _ran(http, doors, "download", ("family", "models"), wait)


@router.delete(
    "/gpu/errands/{id}", responses={200: json_of("Errands")}, summary="Call a download off"
)
def call_off(id: str, doors: Here, caller: Admin) -> Json:
    """What has come is kept, and the next download continues it. Other errands end by
    themselves."""
    (found,) = doors.roster.errands([id]) or (None,)
    if found is None:
        raise UnknownId("errand", id)
    if found.verb != "download":
        raise Conflict("errand", id, "is no download: it ends by itself")
    doors.roster.end(id, error=json.dumps(error_json(Cancelled("the download was called off"))))
    return errands_view(doors, doors.roster.errands([id]))


@router.get(
    "/gpu/errands/{id}", responses={200: json_of("Errands")}, summary="What became of an errand"
)
def errand(id: str, doors: Here, caller: Admin) -> Json:
    """Outcomes are kept for an hour. An errand ends without one if its process ends."""
    found = doors.roster.errands([id])
    if not found:
        raise UnknownId("errand", id)
    return errands_view(doors, found)


async def _ran(
    http: HttpRequest, doors: Doors, verb: str, fields: Sequence[str], wait: float
) -> Response:
    given = await read_object(http) if await http.body() else {}
    known = ("engine", *fields)
    for name in given:
        if name not in known:
            raise InvalidRequest(name, given[name], "one of " + ", ".join(known))
    for name, value in given.items():
        if name not in ("seconds", "models") and not isinstance(value, str | None):
            raise InvalidRequest(name, value, "a text")
    named = given.pop("engine", None)
    engine = None if named is None else str(named)
    if verb == "timeout":
        seconds = given.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            raise InvalidRequest("seconds", seconds, "a number of seconds above 0")
    if verb in ("load", "download"):
        given.setdefault("family", doors.config.family)
        check_family(given["family"])
    if verb == "download":
        _check_download(given)
    if verb == "load":
        check_model(given.get("model"))
        check_model(given.get("language_model"), "language_model")
    ended, view = await run_errand(doors, verb, given, engine, wait)
    return JSONResponse(view, 200 if ended else 202)


def _check_download(given: Json) -> None:
    """Raise InvalidRequest for models that cannot be downloaded."""
    folders, models = family_named(str(given["family"])).folders, given.get("models")
    if folders is None:
        raise InvalidRequest("family", given["family"], "a family that has model folders")
    if not isinstance(models, list) or not models:
        raise InvalidRequest("models", models, "a list of names, as GET /v1/models shows them")
    named(folders.catalogue, [str(one) for one in models], "models")
