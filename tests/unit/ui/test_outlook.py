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
