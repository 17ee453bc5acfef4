"""The base of every request: frozen, strict about names, patient with old spellings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from headroom.params.describe import TASK, Param, describe
from headroom.params.knob import refuse


class Request(BaseModel):
    """What somebody asks of a model. Subclasses declare the fields, once.

    An unknown name is refused with the nearest known one. Not-a-number and infinity are nonsense.
    """

    groups: ClassVar[tuple[str, ...]] = ()  # the order of the headings, where it matters
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _old_spellings(cls, data: object) -> object:
        return canonical(cls, data) if isinstance(data, Mapping) else data


@cache
def spellings(model: type[BaseModel]) -> Mapping[str, str]:
    """Every name a field answers to (in snake case) -> the field."""
    names = {old: p.name for p in describe(model) for old in p.knob.old}
    return names | {name: name for name in model.model_fields}


@cache
def _switches(model: type[BaseModel]) -> Mapping[str, tuple[str, str]]:
    return {old: (p.name, word) for p in describe(model) for old, word in p.knob.old_switches}


@cache
def _params(model: type[BaseModel]) -> Mapping[str, Param]:
    return {p.name: p for p in describe(model)}


@cache
def _words(param: Param) -> Mapping[str, str]:
    """The choices of a parameter by their case-folded spelling, old words included."""
    new = {choice.casefold(): choice for choice in param.choices}
    return {old.casefold(): word for old, word in param.knob.old_words} | new


def snake(name: str) -> str:
    """`audioDuration` and `audio-duration` as `audio_duration`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def canonical(model: type[BaseModel], data: Mapping[Any, Any]) -> dict[str, object]:
    """The mapping with every name and word as the model declares it.

    Raises the validation error of an unknown name, and of a field given twice with two values.
    """
    result: dict[str, object] = {}
    for spelt, value in data.items():
        name, value = _place(model, str(spelt), value)
        if name in result and result[name] != value:
            raise refuse("one value for it, not two spellings that differ", field=name, value=value)
        if name:
            result[name] = value
    return result


def _place(model: type[BaseModel], spelt: str, value: object) -> tuple[str, object]:
    """Field and value for one entry; an empty name for an old switch that is off."""
    name = spelt if spelt in model.model_fields else snake(spelt)
    switch = _switches(model).get(name)
    if switch is not None:
        return switch if _is_on(spelt, value) else ("", None)
    field = spellings(model).get(name)
    if field is None:
        raise refuse(nearest(model, name), field=spelt, value=value)
    if field == TASK:
        return field, value
    param = _params(model)[field]
    if name != field and _means_open(param, value):
        return field, None
    return field, _word(param, value)


def _means_open(param: Param, value: object) -> bool:
    """Whether a value under an old name is the number that used to mean "decide for me"."""
    try:
        return param.knob.old_open is not None and float(str(value)) == param.knob.old_open
    except ValueError:
        return False


def _word(param: Param, value: object) -> object:
    if not param.choices:
        return value
    if param.many and isinstance(value, list | tuple):
        return [_word_of_one(param, v) for v in value]
    if param.many and isinstance(value, str):
        parts = re.split(f"[{re.escape(param.split)}]", value) if value.strip() else []
        return [_word_of_one(param, part.strip()) for part in parts]
    return _word_of_one(param, value)


def _word_of_one(param: Param, value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    if value == "" and param.optional:
        return None
    return _words(param).get(str(value).strip().casefold(), value)


def _is_on(name: str, value: object) -> bool:
    on, off = (True, 1, "1", "true", "yes", "y", "on"), (False, 0, "0", "false", "no", "n", "off")
    word = value.lower() if isinstance(value, str) else value
    if word in on:
        return True
    if word in off or word is None:
        return False
    raise refuse("true or false", field=name, value=value)


def nearest(model: type[BaseModel], name: str) -> str:
    """The end of the sentence about an unknown name: the nearest known one, or all of them."""
    known = spellings(model)
    close = get_close_matches(snake(name), [*known, *_switches(model)], n=1, cutoff=0.6)
    if close:
        return f"a known field (did you mean {known.get(close[0], close[0])!r}?)"
    return "the fields of this request: " + ", ".join(n for n in model.model_fields)
