from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import pytest

from headroom.audio.atomic import replacing, write_json
from headroom.errors import InvalidOutput


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with replacing(target) as temp:
        temp.write_text("new")
        assert target.read_text() == "old"
        assert temp.parent == target.parent
    assert [f.name for f in tmp_path.iterdir()] == ["a"]
    assert target.read_text() == "new"


def test_json_of_any_text_is_written_and_read_back(tmp_path: Path) -> None:
    value = {"note": "".join(map(chr, range(0x100))) + "\u202e\udcff"}
    path = write_json(tmp_path / "a.json", value)
    assert json.loads(path.read_text("utf-8")) == value


def test_missing_folders_are_made_and_taken_away_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x" / "y" / "a"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with replacing(tmp_path / "x" / "y" / "a") as temp:
        temp.write_text("new")
    assert (tmp_path / "x" / "y" / "a").read_text() == "new"


def test_a_folder_that_somebody_uses_by_now_stays(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replacing(tmp_path / "x" / "a"):
        (tmp_path / "x" / "theirs").touch()
        raise RuntimeError
    assert [f.name for f in (tmp_path / "x").iterdir()] == ["theirs"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    with replacing(tmp_path / "link") as temp:
        temp.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_text() == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="rights are set in another way there")
def test_the_new_file_has_the_usual_rights(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "usual").stat().st_mode


def refused(path: Path | str, field: str = "output") -> str:
    with pytest.raises(InvalidOutput) as caught:
        write_json(path, {}, field)
    sentence = str(caught.value)
    assert sentence.startswith(f"{field}: {str(path)!r} ") and "; allowed: " in sentence
    return sentence


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a folder" in refused(tmp_path)
    assert "cannot be written (" in refused(tmp_path / "file" / "a", "sidecar")
    assert "allowed: " in refused(tmp_path / ("x" * 300))
    assert "is no usable name" in refused("a\0b")
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="no device files here")
def test_a_device_is_not_replaced() -> None:
    assert "is not a regular file" in refused("/dev/null")
    assert Path("/dev/null").is_char_device()


def test_no_room_is_said_in_words(tmp_path: Path) -> None:
    with (
        pytest.raises(InvalidOutput, match=r"no room is left on the disk \(.* free\)"),
        replacing(tmp_path / "a") as temp,
    ):
        temp.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_json_is_readable_and_the_same_twice(tmp_path: Path) -> None:
    value = {"b": "Ébène ♪", "a": [1, 2.5, None]}
    first = write_json(tmp_path / "a.json", value).read_bytes()
    assert first == write_json(tmp_path / "b.json", value).read_bytes()
    assert json.loads(first) == value
    assert "Ébène ♪".encode() in first and first.endswith(b"}\n")


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": object()}])
def test_what_json_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, value: object
) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a.json", value)
    assert list(tmp_path.iterdir()) == []
