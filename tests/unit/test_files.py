"""Files of others: what is no plain file of bounded size is refused at once, in one sentence."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from headroom.errors import InvalidFile, shown
from headroom.files import open_regular, parse_json, read_bytes, read_json, read_text

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX has these kinds of files")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def why(path: Path) -> str:
    with pytest.raises(InvalidFile) as error:
        read_text(path)
    sentence = str(error.value)
    assert sentence == f"{shown(str(path), 1000)} {error.value.why}." and "\n" not in sentence
    return error.value.why


def put(folder: Path, data: bytes) -> Path:
    path = folder / "file.txt"
    path.write_bytes(data)
    return path


def test_text_is_read_with_and_without_a_byte_order_mark_and_keeps_its_line_ends(
    tmp_path: Path,
) -> None:
    for mark in (b"", b"\xef\xbb\xbf"):
        assert read_text(put(tmp_path, mark + "a\r\nb\rc\u2028d é".encode())) == (
            "a\r\nb\rc\u2028d é"
        )


@posix
def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert why(tmp_path / "pipe") == "is a pipe, not a file"
    assert why(Path("/dev/zero")) == "is a device, not a file"
    (tmp_path / "link").symlink_to("/dev/zero")
    assert why(tmp_path / "link") == "is a device, not a file"


@posix
def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("s")
        assert why(Path("s")) == "is a socket, not a file"


@posix
def test_what_becomes_a_pipe_after_it_was_looked_at_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, b"text")
    seen = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda *args, **named: seen)
    assert why(path) == "is a pipe, not a file"


def test_folders_absent_files_and_names_that_no_file_can_have(tmp_path: Path) -> None:
    assert why(tmp_path) == "is a folder, not a file"
    with pytest.raises(InvalidFile) as error:
        read_text(tmp_path / "none")
    assert error.value.missing and error.value.why.startswith("is not there")
    assert why(tmp_path / ("x" * 5000)).startswith("cannot be read (")
    for name in ("a\0b", "\ud800"):
        assert why(tmp_path / name) == "is not a name a file can have"


def test_a_file_is_as_large_as_its_limit_and_no_larger(tmp_path: Path) -> None:
    path = put(tmp_path, b"x" * 2048)
    assert read_bytes(path, 2048) == b"x" * 2048
    with pytest.raises(InvalidFile, match="is larger than 2 KiB, the most that is read"):
        put(tmp_path, b"x" * 2049)
        read_bytes(path, 2048)


@posix
def test_a_file_that_hides_its_size_is_not_read_beyond_the_limit() -> None:
    path = Path("/proc/self/status")  # says that it has 0 bytes
    if not path.exists():
        pytest.skip("no /proc here")
    assert read_bytes(path, 1 << 16)
    with pytest.raises(InvalidFile, match="larger than"):
        read_bytes(path, 16)


def test_a_sparse_file_of_terabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert why(path) == "is larger than 1 MiB, the most that is read"
    with open_regular(path) as opened:
        assert opened.read(2) == b"\0\0"


def test_other_encodings_are_no_text(tmp_path: Path) -> None:
    assert why(put(tmp_path, "é".encode("latin-1"))) == "is not UTF-8 text (byte 0xe9 at 0)"
    assert why(put(tmp_path, "hi".encode("utf-16"))) == "is not UTF-8 text (byte 0xff at 0)"
    assert why(put(tmp_path, "hi".encode("utf-16-le"))) == "is not text (a NUL at character 1)"
    assert why(put(tmp_path, b"ab\xed\xa0\x80")) == "is not UTF-8 text (byte 0xed at 2)"


def test_a_pointer_of_git_lfs_is_called_that(tmp_path: Path) -> None:
    assert why(put(tmp_path, POINTER)).startswith("is a git-lfs pointer")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        ("1" * 5000, "it holds a number of too many digits"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_json_that_cannot_be_read_is_one_kind_of_error(
    tmp_path: Path, text: str, fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_json(text)
    with pytest.raises(InvalidFile, match=fault):
        read_json(put(tmp_path, text.encode()))


def test_json_is_read_behind_a_byte_order_mark(tmp_path: Path) -> None:
    assert read_json(put(tmp_path, b'\xef\xbb\xbf{"a": [1]}')) == {"a": [1]}
