"""What the bodies of ACE-Step's REST interface ask for, as requests. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from headroom.errors import InvalidRequest, written
from headroom.models.acestep.old_rest.body import (
    COVER,
    DEFAULTS,
    HELPERS,
    TEXTS,
    WISHES,
    Body,
    elsewhere,
)
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests import examples
from headroom.models.acestep.requests.every import REQUESTS
from headroom.models.acestep.requests.language_requests import CreateSample, FormatSample
from headroom.models.acestep.requests.songs import TASKS, Text2Music
from headroom.models.acestep.requests.unread_names import UNREAD
from headroom.models.acestep.text.language_names import LANGUAGE_WORDS, language_of
from headroom.models.acestep.text.lyric_text import has_voice
from headroom.models.family import Given, OldOrder
from headroom.params.describe import TASK, Param, describe
from headroom.params.note import Note
from headroom.params.request import Request, snake, spellings
from headroom.settings.options import BACKENDS

# Languages that a description may ask for, by their names in it.
_HEARD = "en zh ja ko es fr de it pt ru bn hi ar th vi id tr nl pl".split()

_DOCUMENTED = MappingProxyType(
    {"key_scale": "keyscale", "time_signature": "timesignature", "description": "caption"}
)
"""Names that the documentation has for values of an example -> those in its file."""


class _OldRest:
    """See `headroom.models.family.OldRest`."""

    def song(self, body: Given, batch_size: int | None) -> OldOrder:
        said = Body(body)
        _check_task(said.task)
        model = said.text("model") or None
        if said.on("full_analysis_only"):
            return self._of_source("understand", body, model)
        if said.on("extract_codes_only"):
            return self._of_source("encode_audio", body, model)
        if said.on("analysis_only"):
            order = self.sheet("format_sample", body)
            return OldOrder(order.request, None, model, order.notes)
        described = bool(said.on("sample_mode"))
        query, formats = said.text("sample_query"), said.on("use_format")
        _check_backend(said)
        seeds = _seeds(said)
        values = {TASK: said.task or "text2music", **seeds, **said.switches(), **said.rest()}
        if isinstance(codes := values.get("audio_codes"), list):
            values["audio_codes"] = _one_of(codes)
        notes = list(said.notes)
        first = None
        if described or query:
            first = _sample(query, values)
            if formats:
                notes.append(Note("use_format", True, None, reason("sheet_from_description")))
        elif formats and (values.get("caption") or values.get("lyrics")):
            first = _formatted(values)
        elif formats:
            notes.append(Note("use_format", True, None, reason("nothing_to_format")))
        return OldOrder(_with_defaults(said, values, first, batch_size), first, model, tuple(notes))

    def sheet(self, task: str, body: Given) -> OldOrder:
        kind = REQUESTS[task]
        said = Body(body, kind)
        model = said.text("model") or None
        for helper in ("analysis_only", "use_format", "sample_mode"):
            said.on(helper)
        query = said.text("sample_query")
        values = {TASK: task, **said.rest()}
        if query and not values.get("caption"):
            values["caption"] = query
        return OldOrder(values, None, model, tuple(said.notes))

    def _of_source(self, task: str, body: Given, model: str | None) -> OldOrder:
        said = Body(body, REQUESTS[task])
        for helper in ("full_analysis_only", "extract_codes_only", "analysis_only"):
            said.on(helper)
        said.text("model")
        if not said.has("source_audio"):
            raise InvalidRequest("src_audio", None, "a recording, which this needs")
        return OldOrder({TASK: task, **said.rest()}, None, model, tuple(said.notes))

    def file_field(self, name: str) -> str | None:
        field = {**elsewhere(), **spellings(Text2Music)}.get(snake(name))
        return field if field in _files() else None

    def properties(self) -> Mapping[str, dict[str, object]]:
        params = {p.name: p for kind in TASKS.values() for p in describe(kind)}
        found = {
            name: _shape(params[field]) for name, field in elsewhere().items() if field in params
        }
        for name in HELPERS:
            found[name] = {"type": ["boolean", "string", "null"]}
        for name in (*TEXTS, *(name for name in UNREAD if name not in HELPERS)):
            found.setdefault(name, {})
        found["task_type"] = {"enum": list(TASKS), "description": "What is to be made."}
        return found

    def examples(self) -> tuple[Given, ...]:
        return tuple(_example(name) for name in examples.names())


OLD_REST = _OldRest()


@cache
def _files() -> frozenset[str]:
    kinds = TASKS.values()
    return frozenset(p.name for kind in kinds for p in describe(kind) if p.kind is Path)


def _check_task(task: object) -> None:
    known = isinstance(task, str) and (task in TASKS or task.startswith(COVER))
    if task is not None and not known:
        raise InvalidRequest("task_type", task, "one of " + ", ".join(TASKS))


def _check_backend(said: Body) -> None:
    named = said.take("lm_backend")
    if named is None:
        return
    if named.value not in BACKENDS:
        raise InvalidRequest(named.name, named.value, "one of " + ", ".join(BACKENDS[1:]))
    if UNREAD["lm_backend"].asks(named.value):
        said.notes.append(UNREAD["lm_backend"].note(named.name, named.value))


def _one_of(codes: list[object]) -> object:
    """The codes in a list, where each song of a batch has its own: here all have the same."""
    several = list(dict.fromkeys(code for code in map(written, codes) if code.strip()))
    if len(several) > 1:
        raise InvalidRequest("audio_code_string", codes, "the same codes for every song")
    return several[0] if several else ""


def _seeds(said: Body) -> dict[str, object]:
    """The seeds that are in force: those given, unless random ones are asked for in so many
    words."""
    drawn = said.on("use_random_seed")
    seed, many = said.take("seed"), said.take("seeds")
    found = many or seed
    if found is None or (isinstance(found.value, int | str) and str(found.value).strip() == "-1"):
        return {}
    if drawn:
        said.notes.append(Note(found.name, found.value, None, reason("drawn_all_the_same")))
        return {}
    several = isinstance(found.value, list | tuple) or "," in written(found.value)
    return {"seeds" if several or many else "seed": found.value}


def _with_defaults(
    said: Body, values: dict[str, object], first: Given | None, batch_size: int | None
) -> Given:
    """The values with the defaults of this interface."""
    fields, before = said.kind.model_fields, "vocal_language" in values
    for name, value in DEFAULTS.items():
        if name in fields and values.get(name) in (None, ""):
            values[name] = value
    if "seeds" in values and not said.has("batch_size"):
        del values["batch_size"]
    elif batch_size is not None and not said.has("batch_size"):
        values["batch_size"] = batch_size
    if first is not None:
        if not before:
            values.pop("vocal_language", None)  # the sheet says it
        if "use_cot_metas" in fields:
            values.setdefault("use_cot_metas", False)
    elif "plan_metadata" in fields and not values.get("thinking"):
        if any(values.get(name, True) for name in WISHES[1:]):
            values.setdefault("plan_metadata", True)
    if "lm_cfg_scale" in values and not (values.get("thinking") or said.has("lm_cfg_scale")):
        del values["lm_cfg_scale"]  # without codes nothing is guided
    return values


def _sample(query: str, values: dict[str, object]) -> dict[str, object]:
    """The request for a song sheet from a description, with what the song has to be.

    English is no wish here: programs send it, the default, with every description.
    """
    if values.get("vocal_language") in ("", DEFAULTS["vocal_language"], "unknown"):
        del values["vocal_language"]
    first = _shared(values, CreateSample)
    if caption := first.pop("caption", None):
        first["sheet_caption"] = caption
    language, instrumental = hints(query)
    if language is not None:
        first.setdefault("vocal_language", language)
    if instrumental:
        first.setdefault("instrumental", True)
    return {TASK: "create_sample", "caption": query, **first}


def _formatted(values: dict[str, object]) -> dict[str, object]:
    """The request that rewrites caption and lyrics, which leave the song's own values."""
    first = {TASK: "format_sample", **_shared(values, FormatSample)}
    for name in ("caption", "lyrics"):
        values.pop(name, None)
    return first


def _shared(values: Mapping[str, object], kind: type[Request]) -> dict[str, object]:
    """The values of a song that a request for its sheet has too."""
    names = set(kind.model_fields) - {TASK}
    found = {name: value for name, value in values.items() if name in names}
    seeds = values.get("seeds")
    parts = seeds.split(",") if isinstance(seeds, str) else seeds
    if isinstance(parts, list) and parts:
        found.setdefault("seed", parts[0])
    return found


def hints(text: str) -> tuple[str | None, bool]:
    """The language that a description names, and whether it asks for music without a voice."""
    plain = text.casefold().strip()
    words = re.findall(r"\w+", plain)
    named = (LANGUAGE_WORDS[w] for w in words if w in LANGUAGE_WORDS and not _is_code(w))
    language = next((code for code in named if code in _HEARD), None)
    bare = ("instrumental", "pure music", "pure instrument")
    solo = bool(words) and words[-1] == "solo"
    return language, solo or any(mark in plain for mark in bare)


def _is_code(word: str) -> bool:
    return word.isascii() and len(word) <= 3


def _shape(param: Param) -> dict[str, object]:
    """The JSON schema of a field, which a form has as a text."""
    kinds = {bool: "boolean", int: "number", float: "number"}
    kind = kinds.get(param.kind, "string")
    types = [kind, *(["array"] if param.many or param.name == "audio_codes" else [])]
    return {
        "type": list(dict.fromkeys((*types, "string", "null"))),
        "description": f"{param.knob.about} Here: {param.allowed()}.",
    }


def _example(name: str) -> dict[str, object]:
    """An example with the names of the documentation beside those in its file."""
    record = examples.record(f"{name}.json")
    documented = {new: record[old] for new, old in _DOCUMENTED.items() if old in record}
    words, language = (written(record.get(field) or "") for field in ("lyrics", "language"))
    documented["vocal_language"] = language_of(language) or "unknown"
    return {**record, **documented, "instrumental": not has_voice(words)}
