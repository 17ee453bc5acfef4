"""Whether the service lives, whether it is ready, and its numbers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from headroom.errors import DatabaseFailed, StorageFailed, StorageFull
from headroom.service.callers import Caller
from headroom.service.doors import Doors, caller_of, doors_of
from headroom.service.metrics import exposition
from headroom.service.shapes import bytes_of, json_of

router = APIRouter(tags=["health"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]


@router.get("/health/live", responses={200: json_of("Live")}, summary="Whether the process answers")
def live() -> dict[str, object]:
    """Needs no key, and looks at nothing."""
    return {"live": True}


@router.get(
    "/health/ready",
    responses={200: json_of("Ready"), 503: json_of("Ready", "Not now.")},
    summary="Whether jobs are accepted",
)
def ready(http: HttpRequest, doors: Here) -> Response:
    """503 while the database is away or the disk is full. Who has a key sees the queue as well."""
    checks = {"database": _database(doors), "storage": _storage(doors)}
    view: dict[str, object] = {"ready": all(checks.values())}
    if http.state.caller is not None:
        view["checks"] = checks
        if checks["database"]:
            view["jobs"] = doors.queue.stats().counts
        machine = doors.machine()
        view["machine"] = None if machine is None else machine.describe()
        view["policy"] = doors.config.settings.policy
    return JSONResponse(view, 200 if view["ready"] else 503)


@router.get(
    "/metrics",
    responses={200: bytes_of("text/plain", "The text format of Prometheus.")},
    response_class=PlainTextResponse,
    summary="Numbers for Prometheus",
)
def metrics(http: HttpRequest, doors: Here, caller: Who) -> Response:
    """Jobs by state, their waits and endings; seconds of stages, bytes loaded, recoveries, clamps;
    memory of the engines; free space; requests by route and status.

    Those of jobs are counted in the database and outlive restarts and the jobs; requests are
    counted since this web process began.
    """
    text, kind = exposition(doors, http.app.state.requests)
    return Response(text, media_type=kind)


def _database(doors: Doors) -> bool:
    try:
        doors.queue.load()
    except DatabaseFailed:
        return False
    return True


def _storage(doors: Doors) -> bool:
    try:
        doors.files.check_room()
    except (StorageFailed, StorageFull):
        return False
    return True
