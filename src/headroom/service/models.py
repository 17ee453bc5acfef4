"""The models of a family, and what each of them can do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from headroom.engine.wire import Json
from headroom.errors import InvalidCheckpoint, InvalidFile, WeightsMissing, shown
from headroom.models.family import Family, ModelFolders
from headroom.models.registry import FAMILIES, family_named
from headroom.params.describe import describe
from headroom.params.request import Request
from headroom.service.answers import Refusal
from headroom.service.doors import Doors
from headroom.service.errands import chosen_model, loaded_models
from headroom.service.reuse import word_asked
from headroom.service.work import Work
from headroom.settings import Settings
from headroom.weights.catalog import Installed, ReleasedModel, checkpoint_dirs

_LANGUAGE = "lm"  # the kind of a language model, where a family has one
_FREE = ("prompt", "completion", "request", "image")  # what other services take money for


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model as clients name it: `name` None is the family's only one. `given`: whether a client
    did, and does not mean the one that the service was started with."""

    family: str
    name: str | None
    given: bool = True

    @property
    def id(self) -> str:
        """Family and name, as lists of models show it."""
        return self.family if self.name is None else f"{self.family}/{self.name}"


def models_of(settings: Settings, name: str) -> Json:
    """Every released model of a family and every installed one; `data` are those that can be asked
    for, as OpenAI's and OpenRouter's clients read them. Raises InvalidRequest."""
    family = family_named(name)
    view: Json = {"object": "list", "family": name, "tasks": list(family.requests)}
    view["usual"] = family.usual
    if family.folders is None:
        return view | {"best": None, "models": [], "data": [_offered(family, None, 0.0, "")]}
    catalogue = family.folders.catalogue
    items = catalogue.installed(checkpoint_dirs(settings))
    here = {i.name: i for i in items if not (i.bundled and i.name in catalogue.models)}
    best = catalogue.best(items)
    names = dict.fromkeys((*catalogue.models, *here))
    rows = [_view(family, n, catalogue.models.get(n), here.get(n)) for n in names]
    ready = [row for row in rows if row["ready"] and row["tasks"]]
    ready.sort(key=lambda row: best is None or row["name"] != best.name)
    data: list[JsonValue] = []
    for row in ready:
        item = here[str(row["name"])]
        data.append(_offered(family, item.name, _installed_at(item), str(row["about"])))
    return view | {"best": best.name if best else None, "models": list(rows), "data": data}


def models_here(doors: Doors, name: str) -> Json:
    """The same, and of each model whether it is loaded, by which engine processes, and whether it
    is the one of requests that name none. Raises InvalidRequest."""
    view = models_of(doors.config.settings, name)
    loaded, usual = loaded_models(doors), usual_model(doors, name, view)
    for row in _objects(view, "models"):
        at = loaded.get((name, str(row["name"])), [])
        row["is_loaded"], row["loaded_on"] = bool(at), [*at]
        row["is_default"] = row["name"] == usual
        row["supported_task_types"] = row["tasks"]
    for row in _objects(view, "data"):
        at = loaded.get((name, str(row["name"])), [])
        row["is_loaded"], row["loaded_on"] = bool(at), [*at]
        row["is_default"] = row["name"] == (usual or name)
    return view


def usual_model(doors: Doors, family: str, view: Json) -> str | None:
    """The model of requests that name none: the one that engine processes were told to load, else
    the one that the service was started with, else the best; None: the family's only one."""
    usual = None
    if family == doors.config.family:
        usual = chosen_model(doors) or doors.config.settings.model
    best = view["best"]
    return usual or (None if best is None else str(best))


def same_as(doors: Doors, work: Work, request: Request) -> str | None:
    """The word of `service.reuse` for a request; None: nobody knows what it makes."""
    if work.first is not None:
        return None
    settings, family = doors.config.settings, work.family
    model = work.model or usual_model(doors, family, models_of(settings, family))
    return word_asked(family, model, request, settings)


def named(settings: Settings, id: str, usual_family: str, chosen: str | None = None) -> ModelName:
    """The model that a client names as family/name, family or name; "": the usual one, which is
    `chosen`, if one is.

    Case and punctuation of the name do not matter, and neither does a family that is not known.
    Raises Refusal for an unknown model, WeightsMissing for one that is not installed.
    """
    before, slash, after = id.partition("/")
    family = before if before in FAMILIES else usual_family
    asked = after if slash else "" if before == family else id
    known = models_of(settings, family)
    rows = [row for row in _objects(known, "models") if row["kind"] == _core(family)]
    if not asked:
        if family == usual_family and chosen is not None:
            return ModelName(family, chosen)
        usual = settings.model if family == usual_family else None
        best = usual or known["best"]
        return ModelName(family, None if best is None else str(best), given=False)
    for row in rows:
        if _folded(str(row["name"])) == _folded(asked):
            if not row["ready"]:
                raise WeightsMissing(str(row["name"]), [], "it has to be downloaded first")
            return ModelName(family, str(row["name"]))
    allowed = ", ".join(str(one["id"]) for one in _objects(known, "data"))
    message = f"there is no model {shown(id)} here; there are: {allowed}."
    raise Refusal(404, "model_not_found", message, "model", f"one of {allowed}")


def has_language_model(settings: Settings, family: str) -> bool:
    """Whether a language model of the family is installed."""
    rows = _objects(models_of(settings, family), "models")
    return any(row["ready"] and row["kind"] == _LANGUAGE for row in rows)


def _core(family: str) -> str | None:
    folders = family_named(family).folders
    return None if folders is None else folders.catalogue.core.name


def _objects(view: Json, name: str) -> list[Json]:
    return cast("list[Json]", view[name])


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _installed_at(item: Installed) -> float:
    """When its folder was last changed, in seconds since 1970; 0 for a folder that is gone."""
    try:
        return item.folder.stat().st_mtime
    except OSError:
        return 0.0


def _offered(family: Family, name: str | None, since: float, about: str) -> Json:
    """A model as clients of OpenAI and OpenRouter read one: lengths are characters of text that it
    reads, and seconds of sound that it makes."""
    params = [param for kind in family.songs.values() for param in describe(kind)]
    texts = {p.name: p.maximum for p in params if p.kind is str and not p.many and p.maximum}
    seconds = [p.maximum for p in params if p.knob.role == "seconds" and p.maximum]
    reads = ["text", "audio"] if any(p.kind is Path for p in params) else ["text"]
    makes: list[JsonValue] = ["audio", "text"]
    id = ModelName(family.name, name).id
    return {
        "id": id,
        "object": "model",
        "created": int(since),
        "owned_by": family.name,
        "name": name or family.name,
        "description": about,
        "input_modalities": list(reads),
        "output_modalities": makes,
        "context_length": int(sum(texts.values())),
        "max_output_length": int(max(seconds, default=0)),
        "pricing": dict.fromkeys(_FREE, "0"),
        "architecture": {
            "modality": f"{'+'.join(reads)}->audio",
            "input_modalities": list(reads),
            "output_modalities": makes,
        },
        "supported_parameters": [*sorted({param.name for param in params})],
    }


def _view(family: Family, name: str, model: ReleasedModel | None, item: Installed | None) -> Json:
    folders = family.folders
    assert folders is not None
    kind = model.kind if model else item.kind if item else folders.catalogue.core
    tasks = _tasks(family, folders, item) if kind == folders.catalogue.core else []
    return {
        "name": name,
        "kind": kind.name,
        "installed": item is not None and item.whole,
        "ready": item is not None and item.ready,
        "bundled": item is not None and item.bundled,
        "bytes": item.nbytes if item and item.whole else model.nbytes if model else 0,
        "about": model.about if model else "",
        "tasks": [*tasks],
    }


def _tasks(family: Family, folders: ModelFolders, item: Installed | None) -> list[str]:
    """The tasks of an installed model; none for one that is not, or that is damaged."""
    if item is None or not item.ready:
        return []
    try:
        songs = folders.offer(item).tasks
    except (InvalidCheckpoint, InvalidFile):
        return []
    others = [task for task in family.requests if task not in family.songs]
    return [*songs, *others]
