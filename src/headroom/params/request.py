"""The base class of all requests: frozen, strict about field names, lenient about old spellings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from headroom.errors import InvalidRequest, written
from headroom.log import log
from headroom.params.describe import TASK, Param, describe
from headroom.params.knob import Refused, refuse
from headroom.params.note import Note
from headroom.params.words import WHOLE, folded, is_open_word, number_text, whole
from headroom.terminal import visible

_ON, _OFF = ("1", "true", "yes", "y", "on"), ("0", "false", "no", "n", "off", "")
_SWITCH = (*_ON, *_OFF)
SONGS = "songs"


@dataclass(frozen=True, slots=True)
class Unread:
    """A name that other programs send and that is ignored.

    why      why it has no effect, for the warning
    usual    values that ask for nothing; they cause no warning
    texts    whether only texts are ignored: a field accepts the same name with a boolean
    """

    why: str
    usual: tuple[object, ...] = ()
    texts: bool = False

    def takes(self, value: object) -> bool:
        """Whether this value is ignored."""
        if not self.texts:
            return True
        return isinstance(value, str) and not is_open_word(value) and folded(value) not in _SWITCH

    def asks(self, value: object) -> bool:
        """Whether the value asks for something."""
        return value is not None and not any(_equal(value, one) for one in (*self.usual, ""))

    def note(self, name: str, value: object) -> Note:
        """What is said of a value that asks for something."""
        return Note(name, value, None, self.why)

    def answer(self, name: str, value: object) -> None:
        """Log a warning if the value asks for something."""
        if self.asks(value):
            log.warning(self.note(name, value).sentence())


Wording: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Attributes of `Knob` that a request words otherwise, by field."""


class Request(BaseModel):
    """A request to a model. Subclasses declare the fields, once.

    An unknown name is refused, with the closest known one in the message. NaN and infinity are
    refused. However a request is created (by the constructor, `model_validate`, JSON, as a member
    of a union, or as a modified copy), an invalid one raises InvalidRequest. Its `__cause__` is
    pydantic's error, from which `faults` lists every fault.
    """

    groups: ClassVar[tuple[str, ...]] = ()  # the order of the headings, where it matters
    unread: ClassVar[Mapping[str, Unread]] = {}  # names that are ignored, in snake case
    wording: ClassVar[Wording] = {}  # of fields that are declared for several requests
    makes: ClassVar[str] = SONGS  # the kind of its output, see `models.outputs`
    uses_language_model: ClassVar[bool] = False  # whether a language model answers it
    clamps: ClassVar[bool] = True  # whether a number beyond its limit is clamped; else refused
    # A schema is built when its request is first read: building all of them takes half of the time
    # in which `plan` answers.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _old_spellings(cls, data: object) -> object:
        return canonical(cls, data) if isinstance(data, Mapping) else data

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The usual schema with all validators, wrapped so that it raises our errors."""
        return core_schema.no_info_wrap_validator_function(cls._in_our_words, handler(source))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The usual schema, with the help texts of this request."""
        shown = handler(schema)
        properties = handler.resolve_ref_schema(shown).get("properties", {})
        for param in describe(cls) if cls.wording else ():
            properties[param.name]["description"] = param.knob.about
        return shown

    @classmethod
    def _in_our_words(
        cls, value: object, inner: core_schema.ValidatorFunctionWrapHandler
    ) -> object:
        with our_words(cls):
            return inner(value)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Like pydantic's method. Raises InvalidRequest, also for invalid JSON."""
        with our_words(cls):
            return super().model_validate_json(json_data, **options)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same request with some values changed, validated like a new one.

        Raises InvalidRequest.
        """
        if not update:
            return super().model_copy(deep=deep)
        kept = {name: getattr(self, name) for name in self.model_fields_set}
        with our_words(type(self)):
            said = canonical(type(self), update)
        made = type(self).model_validate(kept | said)
        return made.model_copy(deep=deep)

    if not TYPE_CHECKING:  # type checkers know from the configuration that it is frozen

        def __setattr__(self, name: str, value: object) -> None:
            try:
                super().__setattr__(name, value)
            except ValidationError as error:
                raise InvalidRequest(name, value, _FROZEN) from error

        def __delattr__(self, name: str) -> None:
            try:
                super().__delattr__(name)
            except ValidationError as error:
                raise InvalidRequest(name, None, _FROZEN) from error


_FIELDS = 'values by the names of fields, as in {"caption": "…"}'
_FROZEN = "what it was made with: model_copy(update={…}) makes another request"


@contextmanager
def our_words(model: type[BaseModel]) -> Iterator[None]:
    """A context that raises validation errors as InvalidRequest, for the first fault."""
    try:
        yield
    except ValidationError as error:
        raise faults(model, error)[0] from error
    except PydanticCustomError as error:  # from `refuse`, outside a validation
        said = error.context or {}
        value = said["value"].value
        raise InvalidRequest(str(said["field"]), value, str(said["allowed"])) from error


def faults(model: type[BaseModel], error: ValidationError) -> tuple[InvalidRequest, ...]:
    """Every fault of a validation error as an InvalidRequest; there is at least one."""
    return tuple(_fault(model, detail) for detail in error.errors(include_url=False))


@cache
def spellings(model: type[BaseModel]) -> Mapping[str, str]:
    """Every accepted name (in snake case) -> the field."""
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
    """The choices of a parameter by their folded spelling, including old words."""
    new = {folded(choice): choice for choice in param.choices}
    return {folded(old): word for old, word in param.knob.old_words} | new


def snake(name: str) -> str:
    """`audioDuration` and `audio-duration` as `audio_duration`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def canonical(model: type[BaseModel], data: Mapping[Any, Any]) -> dict[str, object]:
    """The mapping with every name and word as the model declares it.

    Values that mean "decide for me" become None if the field may be None, else they are dropped.
    Names that the model is known to ignore are dropped with a warning. Raises a validation error
    for an unknown name, and for a field given twice with different values.
    """
    result: dict[str, object] = {}
    for spelt, value in data.items():
        name, value = _place(model, written(spelt), value)
        if not name or (value is None and name in result):
            continue
        if result.get(name) is not None and result[name] != value:
            raise refuse("one value for it, not two spellings that differ", field=name, value=value)
        result[name] = value
    return result


def _place(model: type[BaseModel], spelt: str, value: object) -> tuple[str, object]:
    """Field and value for one entry; an empty name if the entry has no effect."""
    name = spelt if spelt in model.model_fields else snake(spelt)
    unread: Mapping[str, Unread] = getattr(model, "unread", {})
    if name in unread and unread[name].takes(value):
        unread[name].answer(spelt, value)
        return "", None
    switch = _switches(model).get(name)
    if switch is not None:
        return switch if is_on(spelt, value) else ("", None)
    field = spellings(model).get(name)
    if field is None:
        raise refuse(nearest(model, name), field=visible(spelt), value=value)
    if field == TASK:
        return field, value
    param = _params(model)[field]
    value = _whole(field, value)
    if means_open(param, value):
        return (field, None) if param.optional else ("", None)
    return field, _word(param, number_text(param, value))


def _whole(field: str, value: object) -> object:
    """The value, its texts converted by `words.whole`. Raises a validation error for a lone
    surrogate, also in a path: libraries that open files accept none."""
    if isinstance(value, list | tuple):  # no field has deeper nesting
        return [_whole_text(field, one) for one in value]
    return _whole_text(field, value)


def _whole_text(field: str, value: object) -> object:
    if not isinstance(value, str | Path):
        return value
    found = whole(str(value))
    if found is None:
        raise refuse(WHOLE, field=field, value=value)
    return found if isinstance(value, str) else value


def means_open(param: Param, value: object) -> bool:
    """Whether a value means "decide for me": None, the field's open values, and, except for free
    text and files, the words in `words.OPEN`."""
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
    """Whether a value asks for nothing if the field does not exist: open, the default, or one of
    the idle values that other programs send."""
    said = _word(param, number_text(param, value))
    quiet = (param.default, *param.knob.idle)
    return means_open(param, value) or any(_equal(said, one) for one in quiet)


def _equal(value: object, known: object) -> bool:
    """Whether a value, possibly given as text, equals a known one; a boolean equals no number."""
    if isinstance(value, bool) or isinstance(known, bool):
        return written(value).casefold() == str(known).casefold()
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
    return _words(param).get(folded(written(value)), value)


def is_on(name: str, value: object) -> bool:
    """Whether a value switches something on, in any of the words that programs send. Raises a
    validation error for any other value."""
    if value is None:
        return False
    word = written(int(value) if isinstance(value, bool) else value).strip().casefold()
    if word in (*_ON, *_OFF):
        return word in _ON
    raise refuse("true or false", field=name, value=value)


def nearest(model: type[BaseModel], name: str) -> str:
    """The end of the message about an unknown name: the closest known name, or all names."""
    close = closest(model, name)
    if close is not None:
        return f"a known field (did you mean {close!r}?)"
    return "the fields of this request: " + ", ".join(n for n in model.model_fields)


def closest(model: type[BaseModel], name: str) -> str | None:
    """The field, or the old switch, whose name is most like an unknown one; None: none is."""
    known = spellings(model)
    close = get_close_matches(snake(name), [*known, *_switches(model)], n=1, cutoff=0.6)
    return known.get(close[0], close[0]) if close else None


def _fault(model: type[BaseModel], detail: ErrorDetails) -> InvalidRequest:
    context = detail.get("ctx", {})
    place = [str(part) for part in detail["loc"]]
    field = str(context.get("field", place[0] if place else "request"))
    said = context.get("value")
    value = said.value if isinstance(said, Refused) else detail["input"]
    if detail["type"] == "missing":
        value = None
    if detail["type"] == "headroom":
        return InvalidRequest(field, value, str(context["allowed"]))
    param = next((p for p in describe(model) if p.name == field), None)
    if param is not None:
        return InvalidRequest(field, value, param.allowed())
    words = {"json_invalid": f"a JSON object ({detail['msg']})", "model_type": _FIELDS}
    return InvalidRequest(field, value, words.get(detail["type"], detail["msg"]))
