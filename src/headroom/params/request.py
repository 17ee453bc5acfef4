"""The base of every request: frozen, strict about names, patient with old spellings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from headroom.log import log
from headroom.params.describe import TASK, Param, describe
from headroom.params.knob import refuse
from headroom.params.note import Note
from headroom.params.words import folded, is_open_word, number_text

_ON, _OFF = ("1", "true", "yes", "y", "on"), ("0", "false", "no", "n", "off", "")
_SWITCH = (*_ON, *_OFF)


@dataclass(frozen=True, slots=True)
class Unread:
    """A name that other programs send and that no field answers to.

    why      nothing comes of it, for the warning
    usual    values that ask for nothing; they get no warning
    texts    whether a text alone is meant: a field answers to the same name with a switch
    """

    why: str
    usual: tuple[object, ...] = ()
    texts: bool = False

    def takes(self, value: object) -> bool:
        """Whether this value is one of those that nothing comes of."""
        if not self.texts:
            return True
        return isinstance(value, str) and not is_open_word(value) and folded(value) not in _SWITCH

    def answer(self, name: str, value: object) -> None:
        """A warning where something was asked."""
        if value is not None and not any(_equal(value, one) for one in (*self.usual, "")):
            log.warning(Note(name, value, None, self.why).sentence())


class Request(BaseModel):
    """What somebody asks of a model. Subclasses declare the fields, once.

    An unknown name is refused with the nearest known one. Not-a-number and infinity are nonsense.
    """

    groups: ClassVar[tuple[str, ...]] = ()  # the order of the headings, where it matters
    unread: ClassVar[Mapping[str, Unread]] = {}  # names that no field answers to, snake case
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
    """The choices of a parameter by their folded spelling, old words included."""
    new = {folded(choice): choice for choice in param.choices}
    return {folded(old): word for old, word in param.knob.old_words} | new


def snake(name: str) -> str:
    """`audioDuration` and `audio-duration` as `audio_duration`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def canonical(model: type[BaseModel], data: Mapping[Any, Any]) -> dict[str, object]:
    """The mapping with every name and word as the model declares it.

    What stands for "decide for me" is None where the field may be None, else left out; names that
    no field answers to and that are known to be harmless are left out with a warning. Raises the
    validation error of an unknown name, and of a field given twice with two values.
    """
    result: dict[str, object] = {}
    for spelt, value in data.items():
        name, value = _place(model, str(spelt), value)
        if not name or (value is None and name in result):
            continue
        if result.get(name) is not None and result[name] != value:
            raise refuse("one value for it, not two spellings that differ", field=name, value=value)
        result[name] = value
    return result


def _place(model: type[BaseModel], spelt: str, value: object) -> tuple[str, object]:
    """Field and value for one entry; an empty name where nothing is said with it."""
    name = spelt if spelt in model.model_fields else snake(spelt)
    unread: Mapping[str, Unread] = getattr(model, "unread", {})
    if name in unread and unread[name].takes(value):
        unread[name].answer(spelt, value)
        return "", None
    switch = _switches(model).get(name)
    if switch is not None:
        return switch if _is_on(spelt, value) else ("", None)
    field = spellings(model).get(name)
    if field is None:
        raise refuse(nearest(model, name), field=spelt, value=value)
    if field == TASK:
        return field, value
    param = _params(model)[field]
    if means_open(param, value):
        return (field, None) if param.optional else ("", None)
    return field, _word(param, number_text(param, value))


def means_open(param: Param, value: object) -> bool:
    """Whether a value says that nobody chose one: None, the field's open values, and, but for free
    text and files, the words of `words.OPEN`."""
    if value is None or any(_equal(value, one) for one in param.knob.open_values):
        return True
    if param.many and isinstance(value, list | tuple) and value:
        return all(means_open(replace(param, many=False), one) for one in value)
    if not isinstance(value, str) or folded(value) in _words(param):
        return False
    if param.kind is Path or (param.kind is str and not param.choices):
        return value.strip() == "" and (param.optional or param.many or param.kind is Path)
    return is_open_word(value)


def asks_nothing(param: Param, value: object) -> bool:
    """Whether a value asks for nothing where the field does not exist: open, the default, or what
    other programs send idly."""
    said = _word(param, number_text(param, value))
    quiet = (param.default, *param.knob.idle)
    return means_open(param, value) or any(_equal(said, one) for one in quiet)


def _equal(value: object, known: object) -> bool:
    """Whether a value, perhaps as text, is a known one; a switch is no number."""
    if isinstance(value, bool) or isinstance(known, bool):
        return str(value).casefold() == str(known).casefold()
    if isinstance(known, int | float) and isinstance(value, str | int | float):
        try:
            return float(value) == known
        except (ValueError, OverflowError):
            return False
    if isinstance(value, str) and isinstance(known, str):
        return value.strip() == known
    return value == known or (known == () and value in ([], ""))


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
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    return _words(param).get(folded(str(value)), value)


def _is_on(name: str, value: object) -> bool:
    if value is None:
        return False
    word = str(int(value) if isinstance(value, bool) else value).strip().casefold()
    if word in (*_ON, *_OFF):
        return word in _ON
    raise refuse("true or false", field=name, value=value)


def nearest(model: type[BaseModel], name: str) -> str:
    """The end of the sentence about an unknown name: the nearest known one, or all of them."""
    known = spellings(model)
    close = get_close_matches(snake(name), [*known, *_switches(model)], n=1, cutoff=0.6)
    if close:
        return f"a known field (did you mean {known.get(close[0], close[0])!r}?)"
    return "the fields of this request: " + ", ".join(n for n in model.model_fields)
