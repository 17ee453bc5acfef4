from __future__ import annotations

import pytest

from headroom.memory.footprint import Component, Footprint, Form, Stage, Way

FORM = Form("float32", (10, 30, 20), 5)
ONE = (Way(1),)


def test_a_streamed_form_needs_its_rest_what_is_kept_and_its_slots():
    assert FORM.bytes == 65
    assert FORM.window(0, 2) == 5 + 2 * 30
    assert FORM.window(0, 3) == 5 + 3 * 30
    assert FORM.window(2, 3) == 5 + 40 + 20  # one block is left, and needs one slot
    assert FORM.window(3, 3) == FORM.bytes
    assert Form("float32", (), 5).window(0, 3) == 5


def test_a_component_says_itself_in_every_precision():
    part = Component("dit", (10, 10), 5, "bfloat16", (Form("int8", (5, 5), 5),))
    assert [f.precision for f in part.forms] == ["bfloat16", "int8"]
    assert (part.bytes, part.form("int8").bytes) == (25, 15)
    with pytest.raises(KeyError, match="int4"):
        part.form("int4")


def test_results_are_held_until_their_last_reader():
    plan = Footprint(
        (),
        (
            Stage("a", (), ONE, result=7, until="b"),
            Stage("b", (), ONE, result=100),
            Stage("c", (), ONE),
        ),
    )
    assert [plan.held_during(i) for i in range(3)] == [0, 7, 100]


def test_what_remains_keeps_what_was_made():
    plan = Footprint(
        (), (Stage("a", (), ONE, result=7), Stage("b", (), (Way(10), Way(5))), Stage("c", (), ONE))
    )
    left = plan.remaining(("a",))
    assert [s.name for s in left.stages] == ["b", "c"]
    assert [w.workspace for w in left.stages[0].ways] == [17, 12]
    assert plan.remaining(()) == plan


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Component("dit", (-1,), 0), "negative bytes"),
        (lambda: Form("int8", (), -1), "negative bytes"),
        (lambda: Component("a", (), 1, "int8", (Form("int8", (), 1),)), "named twice"),
        (lambda: Stage("s", (), ()), "cannot be done in any way"),
        (lambda: Way(-1), "no way"),
        (lambda: Way(1, pieces=0), "no way"),
        (lambda: Stage("s", (), ONE, passes=0), "0 passes"),
        (lambda: Footprint((), (Stage("s", ("vae",), ONE),)), r"unknown \['vae'\]"),
        (lambda: Footprint((Component("a", (), 1),) * 2, ()), "component is named twice"),
        (lambda: Footprint((), (Stage("s", (), ONE),) * 2), "stage is named twice"),
        (
            lambda: Footprint((), (Stage("a", (), ONE), Stage("b", (), ONE, until="a"))),
            "keeps its result until 'a'",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
