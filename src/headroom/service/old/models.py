"""The models of the service as ACE-Step's REST interface shows, names and loads them."""

from __future__ import annotations

from typing import Any

from headroom.engine.wire import Json, error_from
from headroom.errors import Conflict, InvalidRequest
from headroom.models.registry import family_named
from headroom.service.answers import Refusal
from headroom.service.doors import Doors
from headroom.service.errands import MOST_SECONDS, chosen_model, run_errand
from headroom.service.models import models_here, models_of

_LANGUAGE = "lm"  # the kind of a language model, in a family that has one
_MODEL = ("name", "is_default", "is_loaded", "supported_task_types")
_LANGUAGE_MODEL = ("name", "is_loaded")


def inventory(doors: Doors) -> Json:
    """The installed models, and which of them the engine processes have loaded."""
    known: Any = models_here(doors, doors.config.family)
    rows = [row for row in known["models"] if row["installed"]]
    core = _core(doors.config.family)
    models = [row for row in rows if row["kind"] == core]
    languages = [row for row in rows if row["kind"] == _LANGUAGE]
    speaks = _first_loaded(languages)
    usual = next((row["name"] for row in models if row["is_default"]), None)
    return {
        "models": [{name: row[name] for name in _MODEL} for row in models],
        "default_model": usual,
        "lm_models": [{name: row[name] for name in _LANGUAGE_MODEL} for row in languages],
        "loaded_lm_model": speaks,
        "llm_initialized": speaks is not None,
    }


def loaded_model(known: Json) -> str | None:
    """The model of an inventory that is loaded: the usual one before others."""
    rows: Any = known["models"]
    return _first_loaded(sorted(rows, key=lambda row: not row["is_default"]))


async def load(doors: Doors, given: Json) -> None:
    """Have each engine process load a model, between two jobs.

    Raises Conflict where none is at work, the error that loading failed with, and Refusal if it
    takes longer than a client is made to wait.
    """
    seconds = min(doors.config.wait_seconds, MOST_SECONDS)
    asked: Json = {"family": doors.config.family, **given}
    ended, view = await run_errand(doors, "load", asked, None, seconds)
    errands: Any = view["errands"]
    for one in errands:
        if one["error"] is not None:
            raise error_from(one["error"])
    if not ended:
        message = f"not loaded within {seconds:g} s: it is loaded when the job at work has ended."
        raise Refusal(504, "not_loaded", message)
    if not errands:
        raise Conflict("engine", "(any)", "has ended before the model was loaded")


def model_named(doors: Doors, name: str | None) -> str | None:
    """The model for a task that names one, or none: then the one that the engine processes were
    told to load, else the usual one (None). Raises InvalidRequest for one that is not ready."""
    if name is None:
        return chosen_model(doors)
    return _ready(doors, "model", name, _core(doors.config.family))


def language_model_named(doors: Doors, name: str) -> str:
    """A language model by its name or path. Raises InvalidRequest for one that is not ready."""
    return _ready(doors, "lm_model_path", name, _LANGUAGE)


def _ready(doors: Doors, field: str, name: str, kind: str | None) -> str:
    known: Any = models_of(doors.config.settings, doors.config.family)
    ready = [row["name"] for row in known["models"] if row["ready"] and row["kind"] == kind]
    asked = name.rpartition("/")[2]
    if asked not in ready:
        raise InvalidRequest(field, name, "one of " + ", ".join(ready))
    return asked


def _first_loaded(rows: Any) -> str | None:
    return next((str(row["name"]) for row in rows if row["is_loaded"]), None)


def _core(family: str) -> str | None:
    folders = family_named(family).folders
    return None if folders is None else folders.catalogue.core.name
