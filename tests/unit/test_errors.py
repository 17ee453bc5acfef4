"""Errors are values: they can be copied, sent to another process and always be said."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable

import pytest

from headroom import errors
from headroom.errors import HeadroomError, InvalidRequest

MADE: dict[str, HeadroomError] = {
    "HeadroomError": errors.HeadroomError("x"),
    "InvalidInput": errors.InvalidInput("x"),
    "InvalidRequest": errors.InvalidRequest("bpm", -1, "more"),
    "InvalidFile": errors.InvalidFile("a.json", "is a pipe", missing=True),
    "InvalidSource": errors.InvalidSource("source", "a.wav", "is empty", "sound"),
    "InvalidCheckpoint": errors.InvalidCheckpoint("folder", ["one", "two"]),
    "InvalidOutput": errors.InvalidOutput("output", "a.wav", "is a folder", "a file"),
    "WeightsMissing": errors.WeightsMissing("turbo", ["here"], "fetch it"),
    "DownloadFailed": errors.DownloadFailed("no network"),
    "DoesNotFit": errors.DoesNotFit(3 << 30, 2 << 30, "a song", "less"),
    "OutOfMemory": errors.OutOfMemory("decode", 1 << 30, 2),
    "LedgerMismatch": errors.LedgerMismatch(1, 2),
    "RenderFailed": errors.RenderFailed("NaN"),
    "LanguageModelFailed": errors.LanguageModelFailed("lm", "float16", 7, "use bfloat16"),
    "Cancelled": errors.Cancelled("stopped"),
}
COPIES: dict[str, Callable[[HeadroomError], HeadroomError]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
}


def test_every_error_is_made_here() -> None:
    kinds = [
        name
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, HeadroomError)
    ]
    assert sorted(MADE) == sorted(kinds)


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", MADE)
def test_a_copy_says_and_holds_the_same(name: str, way: str) -> None:
    error = MADE[name]
    error.add_note("seen")
    again = COPIES[way](error)
    assert again is not error and type(again) is type(error)
    assert str(again) == str(error) and vars(again) == vars(error)
    assert again.args == error.args


class _Endless:
    def __repr__(self) -> str:
        raise RecursionError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (10**5000, "a value of type int that is too long to be shown"),
        (_Endless(), "a value of type _Endless that is too long to be shown"),
        ("x" * 10**6, "'" + "x" * 78 + "…"),
        ("\ud800\x1b", r"'\ud800\x1b'"),
    ],
    ids=["too many digits", "endless", "long", "torn"],
)
def test_every_value_can_be_said(value: object, shown: str) -> None:
    assert str(InvalidRequest("bpm", value, "less")) == (
        f"bpm: {shown} is not allowed; allowed: less."
    )
