"""Errors are values: they can be copied, sent to another process and always be said."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable

import pytest

from headroom import errors
from headroom.errors import HeadroomError, InvalidRequest, UnreadableFile, written
from support.every_error import MADE

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

    __str__ = __repr__


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


@pytest.mark.parametrize("field", ["a\nb", "\x1b[2J", "x" * 5000, "\ud800", "line 1, a\tb"])
def test_a_name_from_outside_ends_no_line_and_is_not_shown_whole(field: str) -> None:
    said = (InvalidRequest(field, 1, "less"), UnreadableFile(field, 1, "is a pipe", "a file"))
    for error in said:
        assert str(error).isprintable() and len(str(error)) < 250
        assert error.field == field
    assert str(InvalidRequest("größe", 1, "less")).startswith("größe: 1 ")


def test_a_path_is_not_shown_whole() -> None:
    path = "x" * 20_000
    for error in (
        errors.InvalidFile(path, "is a pipe"),
        errors.InvalidSource("source", path, "is empty", "sound"),
        errors.InvalidOutput("output", path, "is a folder", "a file"),
        errors.InvalidCheckpoint(path, ["one"]),
    ):
        assert len(str(error)) < 1100


def test_the_faults_of_a_folder_are_a_line_each() -> None:
    said = str(errors.InvalidCheckpoint("a", ["one\n\x1btwo\ud800", "three", "x" * 5000]))
    first, two, three, long = said.split("\n  ")
    assert (two, three) == ("one\\n\\x1btwo\\ud800", "three") and len(long) == 400
    assert first == "checkpoint: 'a' cannot be used:"


@pytest.mark.parametrize("value", [10**5000, _Endless()], ids=["too many digits", "endless"])
def test_what_cannot_be_written_out_is_said_in_words(value: object) -> None:
    assert written(value) == f"a value of type {type(value).__name__} that is too long to be shown"
    assert (written(7), written("a\nb")) == ("7", "a\nb")
