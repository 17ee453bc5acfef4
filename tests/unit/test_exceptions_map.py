"""The tree that `errors.py` draws of itself is the tree of its classes."""

from __future__ import annotations

import inspect

from headroom import errors


def drawn() -> dict[str, str]:
    """Class -> parent, read from the drawing: the depth is the column of the name."""
    parents: dict[str, str] = {}
    open_at: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        words = line.lstrip(" │├└─")
        name = words.split(" ")[0]
        if not line.startswith("    ") or not name:
            continue
        column = len(line) - len(words)
        open_at = [one for one in open_at if one[0] < column]
        parents[name] = open_at[-1][1] if open_at else "Exception"
        open_at.append((column, name))
    return parents


def built() -> dict[str, str]:
    classes = [
        one
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if one.__module__ == errors.__name__
    ]
    return {one.__name__: one.__bases__[0].__name__ for one in classes}


def test_the_drawing_is_the_tree() -> None:
    assert drawn() == built()


def test_every_error_has_one_root_and_an_exit_code() -> None:
    for name in built():
        kind = getattr(errors, name)
        assert issubclass(kind, errors.HeadroomError)
        assert kind.exit_code in (1, 2)
        assert (kind.exit_code == 2) == issubclass(kind, errors.InvalidInput)
