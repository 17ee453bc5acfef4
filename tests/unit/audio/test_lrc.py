from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.audio.lrc import TimedText, lrc, stamp


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "[00:00.00]"),
        (0.08, "[00:00.08]"),
        (7.256, "[00:07.26]"),
        (59.994, "[00:59.99]"),
        (59.999, "[01:00.00]"),  # and not [00:60.00]
        (187.25, "[03:07.25]"),
        (600, "[10:00.00]"),
        (6000.5, "[100:00.50]"),
    ],
)
def test_a_time_is_minutes_seconds_and_hundredths(seconds: float, written: str) -> None:
    assert stamp(seconds) == written


@given(st.floats(0, 3600))
def test_a_time_is_read_back_to_half_a_hundredth(seconds: float) -> None:
    found = re.fullmatch(r"\[(\d\d+):([0-5]\d)\.(\d\d)\]", stamp(seconds))
    assert found is not None
    minutes, whole, hundredths = map(int, found.groups())
    assert abs(minutes * 60 + whole + hundredths / 100 - seconds) <= 0.005 + 1e-9


def test_lines_stand_one_below_the_other() -> None:
    lines = [TimedText("la la", 1.0, 2.0), TimedText("海の歌", 61.5, 70.0)]
    assert lrc(lines) == "[00:01.00]la la\n[01:01.50]海の歌\n"
    assert lrc([]) == ""
