"""What engine processes are asked to do, and told by them, as the web process sees it."""

from __future__ import annotations

import asyncio
import json
import time

from anyio.to_thread import run_sync
from pydantic import JsonValue

from headroom.engine.wire import Json
from headroom.errors import InvalidRequest
from headroom.jobs.roster import Errand
from headroom.service.doors import Doors

WAIT_SECONDS, MOST_SECONDS = 10.0, 60.0  # for the outcome of errands
_LOOKS = (0.05, 0.1, 0.2, 0.5)


def engines_view(doors: Doors) -> list[Json]:
    """The engine processes and what each has in its card's memory; bytes, seconds."""
    return [
        {"engine": one.name, "told": one.told, **doors.hidden.object(json.loads(one.status))}
        for one in doors.roster.members()
    ]


def loaded_models(doors: Doors) -> dict[tuple[str, str], list[str]]:
    """The engine processes that have something of a model in memory, by the family and the name of
    the model; language models too."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in doors.roster.members():
        for engine in json.loads(one.status)["engines"]:
            for name in engine.get("loaded", ()):
                names = found.setdefault((engine["family"], name), [])
                names += [] if one.name in names else [one.name]
    return found


def chosen_model(doors: Doors) -> str | None:
    """The model of the service's family that an engine process was told to load for jobs that name
    none; None: such jobs get the model that the service was started with."""
    return doors.roster.chosen(doors.config.family)


async def run_errand(
    doors: Doors, verb: str, given: Json, engine: str | None, wait: float
) -> tuple[bool, Json]:
    """Ask an engine process, or all of them, and wait so many seconds for the outcome.

    Whether all have ended, and the view of the errands. Raises InvalidRequest, UnknownId, Conflict.
    """
    if not 0 <= wait <= MOST_SECONDS:
        raise InvalidRequest("wait", wait, f"0 to {MOST_SECONDS:g} s")
    asked = await run_sync(doors.roster.ask, verb, json.dumps(given), engine)
    until, looks = time.monotonic() + wait, 0
    ids = [one.id for one in asked]
    now = asked
    while any(one.ended is None for one in now) and time.monotonic() < until:
        await asyncio.sleep(_LOOKS[min(looks, len(_LOOKS) - 1)])
        looks += 1
        now = await run_sync(doors.roster.errands, ids)
    return all(one.ended is not None for one in now), errands_view(doors, now)


def errands_view(doors: Doors, errands: tuple[Errand, ...]) -> Json:
    """Errands as clients see them."""
    return {"errands": [_view(doors, one) for one in errands]}


def _view(doors: Doors, one: Errand) -> JsonValue:
    state = "waiting" if one.ended is None else "done" if one.error is None else "failed"
    return {
        "id": one.id,
        "engine": one.member,
        "verb": one.verb,
        "state": state,
        "status": None if one.answer is None else doors.hidden.json(json.loads(one.answer)),
        "error": None if one.error is None else doors.hidden.json(json.loads(one.error)),
    }
