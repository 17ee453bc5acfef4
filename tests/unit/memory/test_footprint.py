from __future__ import annotations

import pytest

from headroom.memory.footprint import Component, Footprint, Stage


def test_a_streamed_component_needs_its_rest_and_two_blocks():
    assert Component("dit", (10, 30, 20), 5).window() == 65
    assert Component("dit", (10, 30, 20), 5).bytes == 65
    assert Component("dit", (10,) * 24, 5).window() == 25
    assert Component("one block", (10,), 5).window() == 15
    assert Component("no blocks", (), 5).window() == 5


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Component("dit", (-1,), 0), "negative bytes"),
        (lambda: Stage("s", (), ()), "at least one entry"),
        (lambda: Stage("s", (), (-1,)), ">= 0"),
        (lambda: Stage("s", (), (10, 20)), "finer cut needs more room"),
        (lambda: Stage("s", (), (20, 10), tiles=(64,)), "1 tiles"),
        (lambda: Stage("s", (), (1,), passes=0), "0 passes"),
        (lambda: Footprint((), (Stage("s", ("vae",), (1,)),)), r"unknown \['vae'\]"),
        (lambda: Footprint((Component("a", (), 1),) * 2, ()), "component is named twice"),
        (lambda: Footprint((), (Stage("s", (), (1,)),) * 2), "stage is named twice"),
    ],
)
def test_what_cannot_be_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
