"""Limits and plans of requests, worked out without an engine and without a card."""

from __future__ import annotations

from headroom.engine.forecast import allowed_on, answered, as_json, as_text, card_of, gibibytes
from headroom.engine.options import EngineOptions
from headroom.engine.wire import Json, error_json, limits_json, plan_json
from headroom.engine.wire.forms import plain_object
from headroom.errors import InvalidRequest, InvalidSource
from headroom.hardware.machine import Machine
from headroom.models.family import ModelChoice, Unopened
from headroom.models.registry import family_named
from headroom.params.clamp import in_force
from headroom.params.describe import TASK, describe
from headroom.params.request import Request
from headroom.service.doors import Doors
from headroom.service.hidden import Hidden
from headroom.service.orders import check_files
from headroom.service.work import files_of, on_this_machine, with_paths
from headroom.settings import AUTO, Settings

_NO_CARD = "a number of GB, as no engine process has told of its card yet"


def machine_for(doors: Doors, vram: float | None) -> tuple[Machine, Settings]:
    """The machine to plan for, and the settings in force on it: a card of `vram` GiB, else the
    machine of the engine process, else the one that the settings name. Raises InvalidRequest."""
    settings = doors.config.settings
    if vram is not None:
        free = settings.model_copy(update={"max_vram": None, "memory_limit": None})
        return card_of(gibibytes(str(vram), "vram"), AUTO, "vram", vram), free
    known = doors.machine()
    if known is not None:
        return known, settings
    named = settings.vram_for("simulated")
    if named is None:
        raise InvalidRequest("vram", None, _NO_CARD)
    return card_of(named, AUTO, "vram", named), settings


def plan_of(
    doors: Doors,
    request: Request,
    owner: str,
    family: str,
    model: str | None,
    vram: float | None,
) -> Json:
    """What a request of `owner` would take, with alternatives; or why it does not fit. Nothing
    runs, but the files that the request names are looked at.

    Raises InvalidRequest, InvalidSource, WeightsMissing, InvalidCheckpoint, StorageFailed.
    """
    family_named(family).only_songs(request)
    check_files(request, doors.files, owner)
    machine, settings = machine_for(doors, vram)
    options, planned = _unopened(doors, settings, family, model)
    hidden = Hidden()
    try:
        with on_this_machine(files_of(request), doors.files, owner, hidden) as local:
            named = with_paths(request, local)
            answer = answered(named, planned, machine, options, settings)
    except InvalidSource as error:
        shown = hidden.text(error.path)
        raise InvalidSource(error.field, shown, error.why, error.allowed) from error
    told = as_json(answer)
    told.pop("model_folder")
    told["text"] = as_text(answer)
    made, refusal = answer.plan, answer.refusal
    told["plan"] = None if made is None else plan_json(made)
    told["refusal"] = None if refusal is None else error_json(refusal)
    return hidden.object(plain_object(told))


def limits_of(
    doors: Doors, request: Request, family: str, model: str | None, vram: float | None
) -> Json:
    """The limits of the fields of a request on a machine, and its tier."""
    machine, settings = machine_for(doors, vram)
    options, planned = _unopened(doors, settings, family, model)
    policy, tighter = allowed_on(request, planned, machine, options, settings.under(options))
    limits = {
        param.name: limit
        for param in describe(type(request))
        if (limit := in_force(param, tighter)) is not None
    }
    return {
        **limits_json(limits),
        "policy": policy.name,
        "tier": None if policy.tier is None else policy.tier.name,
        "language_model": policy.init_lm,
        "card_bytes": machine.card_bytes,
    }


def usual_request(family: str, task: str | None) -> Request:
    """A request of a task with its defaults, to ask limits for. Raises InvalidRequest."""
    named = family_named(family)
    kind = named.requests.get(task or named.usual)
    if kind is None:
        raise InvalidRequest(TASK, task, "one of " + ", ".join(named.requests))
    # Not validated: of some tasks something is needed on which no limit depends.
    needed = {param.name: param.kind("x") for param in describe(kind) if param.required}
    return kind.model_construct(**needed)


def _unopened(
    doors: Doors, settings: Settings, family: str, model: str | None
) -> tuple[EngineOptions, Unopened]:
    if family != doors.config.family:  # whose models the setting does not name
        settings = settings.model_copy(update={"model": None})
    options = EngineOptions.of(family=family, model=model)
    return options, family_named(family).plan(ModelChoice(model, None, settings))
