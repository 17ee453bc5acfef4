"""The form of errors: a code for each class, the message, and the attributes that explain it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from headroom.engine.wire.forms import (
    Json,
    Versioned,
    plain,
    read,
    restored_object,
    text,
    word_of,
)
from headroom.errors import HeadroomError, shown

_CHARACTERS, _ITEMS, _BITS = 4096, 256, 4096  # of a value that is repeated in full


class ErrorForm(Versioned):
    """An error: the code of its class, its English message, and its attributes."""

    code: str
    message: str
    values: dict[str, JsonValue]

    def value(self) -> HeadroomError:
        """The error itself; one of an unknown code is a plain HeadroomError."""
        kind = classes().get(self.code, HeadroomError)
        error = kind.__new__(kind, self.message)
        vars(error).update(restored_object(self.values))
        return error


def error_json(error: HeadroomError) -> Json:
    """An error as JSON; a value that is long, or that JSON cannot express, is a text."""
    values = {
        name: plain(value) if _is_small(value) else text(shown(value, _CHARACTERS))
        for name, value in vars(error).items()
        if not name.startswith("_")
    }
    code, message = word_of(type(error)), text(str(error))
    return ErrorForm(code=code, message=message, values=values).json_object()


def error_from(given: object) -> HeadroomError:
    """The error in its JSON form, to be raised. Raises InvalidRequest where it is none."""
    return read(ErrorForm, given, "error").value()


def classes() -> dict[str, type[HeadroomError]]:
    """The class of each error by its code."""

    def tree(kind: type[HeadroomError]) -> Iterator[type[HeadroomError]]:
        yield kind
        for one in kind.__subclasses__():
            yield from tree(one)

    return {word_of(kind): kind for kind in tree(HeadroomError)}


def _is_small(value: object) -> bool:
    """Whether a value is small enough to be repeated in full."""
    if isinstance(value, str | bytes):
        return len(value) <= _CHARACTERS
    if isinstance(value, int):
        return value.bit_length() <= _BITS
    if isinstance(value, list | tuple):
        flat = not any(isinstance(one, list | tuple) for one in value)
        return flat and len(value) <= _ITEMS and all(map(_is_small, value))
    return value is None or isinstance(value, float | Path)
