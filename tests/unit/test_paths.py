"""Paths that raise when they are asked are answered."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from headroom import paths
from headroom.errors import InvalidRequest

QUESTIONS = (paths.exists, paths.is_dir, paths.is_file, paths.is_symlink)
HOSTILE = ("x" * 300, "a\0b", "\ud800", "x/" * 3000)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_no_file_can_have_is_not_there(name: str) -> None:
    assert [ask(Path(name)) for ask in QUESTIONS] == [False] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="the rights of POSIX")
def test_what_lies_in_a_folder_that_may_not_be_entered_is_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, **options: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:  # the superuser, who may run this, enters every folder
        patched.setattr(os, "stat", refuse)
        answers = [ask(tmp_path / "inside") for ask in QUESTIONS[:2]]
        assert answers == [False] * 2


def test_what_is_there_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    assert (paths.exists(file), paths.is_file(file), paths.is_dir(file)) == (True, True, False)
    assert (paths.exists(tmp_path), paths.is_dir(tmp_path)) == (True, True)


def test_a_home_that_is_not_known_is_a_sentence() -> None:
    with pytest.raises(InvalidRequest, match=r"output: '~nobody-here/x' is not allowed; .*~"):
        paths.expanded("~nobody-here/x", "output")
    assert paths.expanded("a/b", "output") == Path("a/b")


def test_a_system_without_a_home_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert paths.home() is None
