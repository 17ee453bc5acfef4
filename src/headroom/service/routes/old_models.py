"""ACE-Step's own REST interface: its health, its models, and adapters, which are not here yet."""

from __future__ import annotations

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest

from headroom.engine.wire import Json, note_json
from headroom.errors import ADAPTERS, InvalidRequest, NotSupportedYet
from headroom.params.note import Note
from headroom.reasons import reason
from headroom.service.callers import Caller
from headroom.service.doors import Doors, admin_of, caller_of, doors_of
from headroom.service.envelope import wrapped
from headroom.service.old.bodies import read_values
from headroom.service.old.models import (
    inventory,
    language_model_named,
    load,
    loaded_model,
    model_named,
)
from headroom.service.shapes import json_of, ok

router = APIRouter(tags=["ACE-Step"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]
Admin = Annotated[Caller, Depends(admin_of)]
_SERVICE: Json = {"status": "ok", "service": "ACE-Step API", "version": "1.0"}
_ON, _OFF = ("true", "1"), ("", "false", "0")
_NOT_YET: dict[int | str, Any] = {501: json_of("OldError", "Adapters come with a later version.")}
_LOADED = "{model} is loaded, and makes the songs of tasks that name no model"
_RELOADED = f"Service reinitialized: {_LOADED}"
_SLOT = 1  # the only one: models are loaded as tasks need them


@router.get(
    "/health",
    responses=ok("OldHealth"),
    summary="Whether the service answers",
)
def health(http: HttpRequest, doors: Here) -> Json:
    """Needs no key; who has one sees the models and the card as well."""
    caller: Caller | None = http.state.caller
    if caller is None:
        return wrapped(_SERVICE)
    known: Any = inventory(doors)
    machine = doors.machine()
    data = {
        **_SERVICE,
        "models_initialized": any(one["is_loaded"] for one in known["models"]),
        "llm_initialized": known["llm_initialized"],
        "loaded_model": loaded_model(known),
        "loaded_lm_model": known["loaded_lm_model"],
        "gpus": [] if machine is None or not machine.accelerated else [machine.describe()],
        "gpu_mapping": {},
        "device_map": {},
    }
    return wrapped(data)


@router.get(
    "/v1/model_inventory",
    responses=ok("OldModels"),
    summary="The models that are installed",
)
def model_inventory(doors: Here, caller: Who) -> Json:
    """`is_loaded`: an engine process has it in memory; others are loaded when a task needs them."""
    return wrapped(inventory(doors))


@router.post(
    "/v1/init",
    responses=ok("OldInit"),
    summary="Load a model, and use it for tasks that name none",
)
async def init(http: HttpRequest, doors: Here, caller: Admin) -> Json:
    """`model`: the name of an installed one; `lm_model_path`: the name of a language model, and
    `init_llm`: the usual one. Each engine process loads them, and uses them until it ends."""
    given = await read_values(http)
    slot = given.get("slot")
    if slot not in (None, "", str(_SLOT), _SLOT) or slot is True:
        raise InvalidRequest("slot", slot, f"{_SLOT}: models are loaded as tasks need them")
    wants = "" if given.get("init_llm") is None else str(given["init_llm"]).lower()
    if wants not in (*_ON, *_OFF):
        raise InvalidRequest("init_llm", given["init_llm"], "true or false")
    model, language = (_text(given, name) for name in ("model", "lm_model_path"))
    asked: Json = {"model": await run_sync(model_named, doors, model), "plans": wants in _ON}
    if language is not None:
        asked["language_model"] = await run_sync(language_model_named, doors, language)
    await load(doors, asked)
    return await run_sync(_initialized, doors, wants in _ON)


@router.post("/v1/reinitialize", responses=ok("OldMessage"), summary="Load the usual model again")
async def reinitialize(http: HttpRequest, doors: Here, caller: Admin) -> Json:
    """Each engine process loads the model that it was started with; what `/v1/init` chose is
    forgotten."""
    await read_values(http)
    await load(doors, {"model": None, "language_model": None})
    known = await run_sync(inventory, doors)
    return wrapped({"message": _RELOADED.format(model=loaded_model(known))})


@router.get(
    "/v1/lora/status",
    responses=ok("OldAdapters"),
    summary="The adapters that are loaded: none",
)
def lora_status(doors: Here, caller: Who) -> Json:
    """Adapters come with a later version."""
    return wrapped(
        {
            "lora_loaded": False,
            "use_lora": False,
            "lora_scale": 1.0,
            "adapter_type": None,
            "adapters": [],
            "scales": {},
        }
    )


@router.post("/v1/lora/load", status_code=501, responses=_NOT_YET, summary="Not supported yet")
@router.post("/v1/lora/unload", status_code=501, responses=_NOT_YET, summary="Not supported yet")
@router.post("/v1/lora/toggle", status_code=501, responses=_NOT_YET, summary="Not supported yet")
@router.post("/v1/lora/scale", status_code=501, responses=_NOT_YET, summary="Not supported yet")
async def lora(http: HttpRequest, doors: Here, caller: Who) -> Json:
    """Adapters come with a later version: the answer is the status 501, and says so."""
    await read_values(http)
    raise NotSupportedYet(http.url.path.removeprefix("/v1/"), *ADAPTERS)


def _initialized(doors: Doors, wants_language: bool) -> Json:
    known: Any = inventory(doors)
    extra: Json | None = None
    if wants_language and not known["llm_initialized"]:
        note = Note("init_llm", True, False, reason("no_language_model_loaded"))
        extra = {"notes": [note_json(note)]}
    model = loaded_model(known)
    data = {
        "message": _LOADED.format(model=model),
        "slot": _SLOT,
        "loaded_model": model,
        "loaded_lm_model": known["loaded_lm_model"],
        "models": known["models"],
        "lm_models": known["lm_models"],
        "llm_initialized": known["llm_initialized"],
    }
    return wrapped(data, extra=extra)


def _text(given: Any, name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(name, value, "the name of a model")
    return value or None
