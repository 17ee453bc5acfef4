"""What all forms share: their base, values as JSON, and classes told apart by a word."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, Union, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    create_model,
)

from headroom.errors import InvalidRequest
from headroom.reasons import Reason

Json: TypeAlias = dict[str, JsonValue]
FORMAT: Final = 1


class Form(BaseModel):
    """The base of all forms."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    def json_object(self) -> Json:
        """The form as JSON values; infinity becomes text, which is read back as a number."""
        return plain_object(self.model_dump(mode="json"))


class Restorable(ABC):
    """A form inside other forms, which restores the value it describes."""

    @abstractmethod
    def value(self) -> object:
        """What the form describes."""


class ReasonForm(Restorable, Form):
    """A reason: its English text, and what it was written from."""

    code: str
    values: Annotated[dict[str, JsonValue], BeforeValidator(lambda held: plain(held))]
    text: str

    def value(self) -> Reason:
        """The reason itself."""
        return Reason(self.text, self.code, restored_object(self.values))


class Versioned(Form):
    """The base of the forms that stand by themselves."""

    format: Literal[1] = FORMAT


F = TypeVar("F", bound=Form)


def read(form: type[F], given: object, name: str) -> F:
    """The JSON values as a form. Raises InvalidRequest, with the place of the fault."""
    try:
        return form.model_validate(given, from_attributes=False)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join([name, *map(str, fault["loc"])])
        raise InvalidRequest(place, fault["input"], fault["msg"]) from error


class Kinds:
    """The forms of several dataclasses, told apart by the word under `key`.

    A form has the fields of its class, except for `notes`, which are kept beside it. Classes among
    the fields that have a form of their own are in `nested`.
    """

    def __init__(
        self,
        key: str,
        classes: Mapping[str, type],
        base: type[Form] = Form,
        nested: Mapping[type, type[Form]] | None = None,
    ) -> None:
        self.key, self.classes = key, dict(classes)
        self._base, self._nested = base, nested or {}
        self.forms = {word: self._form_of(word, kind) for word, kind in classes.items()}

    def json(self, value: object) -> Json:
        """The form of a value as JSON. Raises TypeError for one of another class."""
        return self.form(value).json_object()

    def form(self, value: object) -> Form:
        """The form of a value. Raises TypeError for one of another class."""
        for word, kind in self.classes.items():
            if type(value) is kind:
                return self.forms[word].model_validate(value)
        raise TypeError(f"{type(value).__name__} has no JSON form")

    def read(self, given: object, name: str) -> Any:
        """The value in a JSON form. Raises InvalidRequest."""
        word = given.get(self.key) if isinstance(given, Mapping) else None
        if not isinstance(word, str) or word not in self.forms:
            raise InvalidRequest(f"{name}.{self.key}", word, "one of " + ", ".join(self.forms))
        return self.value(read(self.forms[word], given, name))

    def value(self, form: Form) -> Any:
        """The value that a form describes."""
        kind = self.classes[getattr(form, self.key)]
        held = {name: getattr(form, name) for name in _fields(kind)}
        return kind(**{n: v.value() if isinstance(v, Restorable) else v for n, v in held.items()})

    @property
    def union(self) -> Any:
        """The type of any of the forms, for pydantic."""
        return Annotated[Union[tuple(self.forms.values())], Field(discriminator=self.key)]  # noqa: UP007

    def _form_of(self, word: str, kind: type) -> type[Form]:
        hints = get_type_hints(kind)
        held: dict[str, Any] = {self.key: (Literal[word], word)}
        for name, default in _fields(kind).items():
            held[name] = (self._nested.get(hints[name], hints[name]), default)
        return create_model(kind.__name__, __base__=self._base, __doc__=kind.__doc__, **held)


def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass that its form has, with their defaults."""
    return {
        one.name: ... if one.default is MISSING else one.default
        for one in fields(kind)
        if one.name != "notes"
    }


def word_of(kind: type) -> str:
    """The word or code of a class: `stage_done` for `StageDone`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def text(value: str) -> str:
    """The text as UTF-8 can carry it: lone surrogates are written out."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def plain(value: object) -> JsonValue:
    """Nested values as JSON; paths, infinity and other types JSON lacks become text."""
    if isinstance(value, Reason):
        return {"code": value.code, "values": plain(value.values), "text": text(value)}
    if isinstance(value, Mapping):
        return {text(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return text(str(value))


def plain_object(value: Mapping[str, object]) -> Json:
    """The same for a mapping."""
    return {text(name): plain(one) for name, one in value.items()}


def restored(value: JsonValue) -> object:
    """JSON values as they were: lists as tuples, reasons as such."""
    if isinstance(value, list):
        return tuple(map(restored, value))
    if not isinstance(value, dict):
        return value
    if set(value) == {"code", "values", "text"} and isinstance(value["values"], dict):
        return Reason(str(value["text"]), str(value["code"]), restored_object(value["values"]))
    return restored_object(value)


def restored_object(value: Json) -> dict[str, object]:
    """The same for an object."""
    return {name: restored(one) for name, one in value.items()}
