"""What may be asked for, what it would take, and which models there are."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest

from headroom.service.callers import Caller
from headroom.service.doors import Doors, caller_of, doors_of
from headroom.service.models import models_here
from headroom.service.orders import read_object, read_order
from headroom.service.planning import limits_of, plan_of, usual_request
from headroom.service.shapes import json_of

router = APIRouter(tags=["plans"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]


@router.post("/v1/plan", responses={200: json_of("Planned")}, summary="What a request would take")
async def plan(
    http: HttpRequest,
    doors: Here,
    caller: Who,
    family: str | None = None,
    model: str | None = None,
    vram: float | None = None,
) -> dict[str, object]:
    """The body is a request; nothing runs. `vram`: for a card of so many GB, else the card here."""
    given = await read_object(http)
    work, request = read_order(given, family or doors.config.family, model)
    return dict(await run_sync(plan_of, doors, request, caller.key, work.family, work.model, vram))


@router.get(
    "/v1/limits", responses={200: json_of("Limits")}, summary="The limits of a task's fields"
)
def limits(
    doors: Here,
    caller: Who,
    task: str | None = None,
    family: str | None = None,
    model: str | None = None,
    vram: float | None = None,
) -> dict[str, object]:
    """Numbers beyond `minimum` and `maximum` are clamped with a note, others refused."""
    family = family or doors.config.family
    return dict(limits_of(doors, usual_request(family, task), family, model, vram))


@router.post(
    "/v1/limits", responses={200: json_of("Limits")}, summary="The limits of a request's fields"
)
async def limits_of_request(
    http: HttpRequest,
    doors: Here,
    caller: Who,
    family: str | None = None,
    model: str | None = None,
    vram: float | None = None,
) -> dict[str, object]:
    """The same for a request in the body: some limits depend on what else it asks for."""
    given = await read_object(http)
    work, request = read_order(given, family or doors.config.family, model)
    return dict(await run_sync(limits_of, doors, request, work.family, work.model, vram))


@router.get("/v1/models", responses={200: json_of("Models")}, summary="The models")
@router.get(
    "/api/v1/models",
    responses={200: json_of("Models")},
    summary="The models, under OpenRouter's path",
)
def models(doors: Here, caller: Who, family: str | None = None) -> dict[str, object]:
    """`models`: the released ones and those that are installed, and the tasks that each can do;
    `data`: those that can be asked for, as clients of OpenAI and OpenRouter read them.
    `is_loaded`: the engine processes in `loaded_on` have something of it in memory; any other is
    loaded when a request needs it. `is_default`: it is for requests that name none."""
    return dict(models_here(doors, family or doors.config.family))
