"""Who else is on a card: asked of its driver now and then, told without places of this machine."""

from __future__ import annotations

import os

import pytest

from headroom.hardware.holders import Holder
from headroom.service import neighbours
from headroom.service.neighbours import Neighbours
from headroom.units import MIB


def test_others_are_told_by_name_and_asked_for_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    holders = (Holder(77, "/usr/bin/a game", 1024), Holder(os.getpid(), "python", 9),
               Holder(78, "C:\\games\\other.exe", None))  # fmt: skip

    def ask(uuid: str) -> tuple[Holder, ...] | None:
        asked.append(uuid)
        return holders

    monkeypatch.setattr(neighbours, "identities", lambda: {"cuda:1": "cuda ab-cd"})
    one = Neighbours(ask)
    assert one.of("cuda:1") == one.of("cuda:1") == [
        {"pid": 77, "name": "a game", "bytes": 1 << 30},
        {"pid": 78, "name": "other.exe", "bytes": None},
    ]  # fmt: skip
    assert asked == ["ab-cd"]


def test_where_nobody_knows_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "identities", lambda: {"cuda:0": "cuda x"})
    assert Neighbours(lambda uuid: None).of("cuda:0") is None
    assert Neighbours(lambda uuid: ()).of("cpu") is None


def test_a_program_on_two_cards_is_one_with_the_bytes_of_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "identities", lambda: {"cuda:0": "cuda a", "cuda:1": "cuda b"})
    found = {"a": (Holder(7, "game", 100), Holder(8, "x", None)), "b": (Holder(7, "game", 20),)}
    told = Neighbours(found.__getitem__).of("cuda:1", "cuda:0", "cuda:0", "cpu")
    assert told == [
        {"pid": 7, "name": "game", "bytes": 120 * MIB}, {"pid": 8, "name": "x", "bytes": None},
    ]  # fmt: skip
