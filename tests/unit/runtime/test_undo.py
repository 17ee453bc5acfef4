"""What is undone whatever happens, and errors that hold on to nothing."""

from __future__ import annotations

import weakref

import pytest

from headroom.runtime.undo import RAISED, Dropping, undone


class Thing:
    pass


def test_work_is_undone_also_where_undoing_is_interrupted() -> None:
    done, interrupts = [], [KeyboardInterrupt]

    def undo() -> None:
        if interrupts:
            raise interrupts.pop()
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        undone(lambda: 1, undo)
    assert done == [True]
    assert undone(lambda: 2, lambda: None) == 2
    with pytest.raises(ZeroDivisionError):
        undone(lambda: 1 // 0, lambda: None)


def test_an_error_that_is_kept_keeps_neither_variables_nor_closures() -> None:
    things: list[weakref.ref[Thing]] = []

    def deep(closed: Thing) -> None:
        mine = Thing()
        things.extend((weakref.ref(mine), weakref.ref(closed)))

        def inner() -> Thing:
            raise KeyError(str(type(closed)))

        try:
            inner()
        except KeyError:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt) as caught, Dropping():
        deep(Thing())
    assert [thing() for thing in things] == [None, None]
    notes = caught.value.__notes__
    assert notes[-1].startswith(RAISED) and "in deep" in notes[-1]


def test_two_blocks_tell_of_the_frames_once_the_outermost_first() -> None:
    def outer() -> None:
        with Dropping():
            inner()

    def inner() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught, Dropping():
        outer()
    (note,) = caught.value.__notes__
    assert note.count("in inner\n") == 1 and note.index("in outer") < note.index("in inner\n")


def test_an_error_from_before_the_block_keeps_its_frames() -> None:
    try:
        raise LookupError
    except LookupError as error:
        with pytest.raises(ZeroDivisionError), Dropping():
            raise ZeroDivisionError  # noqa: B904 - this one is its context
        assert error.__traceback__ is not None and not hasattr(error, "__notes__")
