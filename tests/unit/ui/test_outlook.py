"""The plan as a part of the page."""

from __future__ import annotations

import pytest

from headroom.ui.outlook import _other, _stage
from headroom.ui.words import Words

STAGE = {"stage": "decode", "peak": 4 << 30, "seconds": 2.0, "pieces": 1}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_another_plan_would_change_is_told_by_its_kind(language: str) -> None:
    words = Words.of(language)
    other = {"bytes": 0, "seconds": 3.0, "what": "dit comes and goes", "timed": True}
    nothing = _other({**other, "kind": "nothing"}, words)
    assert nothing == words("nothing_changes")
    change = words("longer", time=words("seconds", seconds=3))
    alone = _other({**other, "kind": "one card"}, words)
    assert alone.startswith(words("on_one_card", change="").rstrip(".。"))
    assert alone != nothing and "3" in alone and change


def test_a_bar_is_the_share_of_the_stage_s_own_card() -> None:
    small = _stage({**STAGE, "budget_bytes": 8 << 30}, Words())
    large = _stage({**STAGE, "budget_bytes": 16 << 30}, Words())
    assert "inline-size:50.0%" in small and "inline-size:25.0%" in large


def test_a_figure_keeps_its_order_in_a_language_from_the_right() -> None:
    stage = {"stage": "decode", "peak": 2 << 30, "budget_bytes": 8 << 30, "pieces": 1}
    assert "\u20662.0 GB\u2069" in _stage(stage, Words("he"))
    assert ">2.0 GB<" in _stage(stage, Words("en"))


def test_what_a_plan_does_stands_inside_its_sentence() -> None:
    other = {
        "kind": "memory", "bytes": -(1 << 30), "seconds": 0.022, "timed": True,
        "what": "decode in tiles of 1024",
    }  # fmt: skip
    told = _other(other, Words("en"))
    assert told == "With 1.0 GB less: 22 ms longer (decode in tiles of 1024)."
