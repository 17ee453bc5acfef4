"""A sample of odd cases of every kind; `scripts/prove strangers` hands in 100,000 of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headroom.errors import DownloadFailed, InvalidRequest
from support.strangers import doors
from support.strangers.door import Door, drawn, handed_in
from support.strangers.doors import KINDS, door
from unit.test_scripts import SCRIPTS, load

CASES = {"flags": 8, "headers": 40}
USUAL = 30


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "program_under_test", ModuleType("program_under_test"))
    return load(SCRIPTS / "prove" / "strangers.py")


@pytest.mark.parametrize("kind", KINDS)
def test_odd_cases_are_taken_or_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    entrance = door(kind)
    taken = 0
    for number in range(CASES.get(kind, USUAL)):
        folder = tmp_path / "a" / "b" / "c" / str(number)
        folder.mkdir(parents=True)
        outcome = handed_in(entrance, drawn(entrance, 5, kind, number), folder)
        assert outcome.fault is None, (kind, number)
        taken += outcome.taken
    assert taken > 0 or kind == "flags"  # of a few words drawn at random all may be refused


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (["generate", "a slow song", "-o", "song.wav"], True),
        (["generate", "a slow song", "--config", "song.toml"], True),
        (["compose", "a slow song"], True),
        (["generate", "--bpm=x"], False),
    ],
)
def test_commands_end_where_the_work_would_begin(
    words: list[str], taken: bool, tmp_path: Path
) -> None:
    outcome = handed_in(door("flags"), (words, ""), tmp_path)
    assert (outcome.taken, outcome.fault) == (taken, None)


def test_a_case_is_made_from_its_seed_kind_and_number() -> None:
    entrance = door("sheets")
    one = [drawn(entrance, 0, "sheets", number) for number in range(20)]
    assert one == [drawn(entrance, 0, "sheets", number) for number in range(20)]
    assert one != [drawn(entrance, 1, "sheets", number) for number in range(20)]
    assert len(set(map(repr, one))) > 15


def raising(error: BaseException) -> Callable[[Any, Path], None]:
    def enter(case: Any, folder: Path) -> None:
        raise error

    return enter


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (InvalidRequest("bpm", "\n", "less"), None),
        (DownloadFailed("one\n  two"), None),
        (ValueError("x"), ValueError),
        (SystemExit(2), SystemExit),
        (RecursionError(), RecursionError),
        (InvalidRequest("bpm", 1, "a\nb"), Exception),
        (InvalidRequest("bpm", 1, "\x1b[2J"), Exception),
        (InvalidRequest("bpm", 1, "x" * 3000), Exception),
        (DownloadFailed(""), Exception),
    ],
)
def test_what_fails_is_seen(error: BaseException, fault: type | None, tmp_path: Path) -> None:
    outcome = handed_in(Door(lambda rng: None, raising(error)), None, tmp_path)
    assert isinstance(outcome.fault, fault) if fault else outcome.fault is None


@pytest.mark.parametrize("planted", ["slow", "large", "wrong"])
def test_a_planted_fault_is_counted_with_its_number(
    program: ModuleType, planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    high = [0]

    def enter(case: Any, folder: Path) -> None:
        if case == 3 and planted == "large":
            high[0] += program.BYTES + 1
        if case == 3 and planted == "wrong":
            raise KeyError("x")

    def handed(entrance: Door, case: Any, folder: Path) -> Any:
        found = handed_in(entrance, case, folder)
        slow = case == 3 and planted == "slow"
        return type(found)(found.taken, program.SECONDS + 1 if slow else 0.0, found.fault)

    numbers = iter([0, 1, 2, 3, 3, 3, 4, 5] if planted == "slow" else range(6))
    monkeypatch.setattr(doors, "door", lambda kind: Door(lambda rng: next(numbers), enter))
    monkeypatch.setattr("support.strangers.door.handed_in", handed)
    monkeypatch.setattr(program, "peak", lambda: high[0])
    figures = program.handed_in("sheets", 0, range(6), tmp_path / "mark", tmp_path / "case")
    assert (figures.cases, figures.failed) == (6, 1)
    assert figures.failures[0]["number"] == 3
    assert (tmp_path / "mark").read_bytes().split() == [b"5"]


def test_the_shares_of_the_kinds_are_the_whole(program: ModuleType) -> None:
    assert sum(share for _, _, share in KINDS.values()) == 100
    pieces = list(program.chunks({"env": 6000, "texts": 10}))
    assert [kind for kind, _ in pieces] == ["env", "env", "env", "texts"]
    assert sum(len(numbers) for _, numbers in pieces) == 6010
