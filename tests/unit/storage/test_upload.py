"""Files on their way in: limits, hashes, and nothing left behind."""

from __future__ import annotations

from collections import namedtuple
from hashlib import sha256
from pathlib import Path

import pytest

from headroom.errors import StorageFull, TooLarge
from headroom.storage.folder import Folder
from headroom.storage.upload import left_over, remove_left_over, upload


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "files")


def staged(storage: Folder) -> list[Path]:
    return list(storage.staging.iterdir())


def test_pieces_are_hashed_together(storage: Folder) -> None:
    with upload(storage, floor=0) as one:
        for piece in (b"ab", b"", b"c"):
            one.write(piece)
        assert one.close() == sha256(b"abc").hexdigest()
        assert one.size == 3 and one.path.read_bytes() == b"abc"
    assert staged(storage) == []


def test_a_byte_too_many_is_not_written(storage: Folder) -> None:
    with pytest.raises(TooLarge) as raised, upload(storage, most=4, floor=0) as one:
        one.write(b"1234")
        one.write(b"5")
    assert raised.value.most == 4
    assert staged(storage) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_whatever_breaks_it_off_leaves_nothing(storage: Folder, error: type[BaseException]) -> None:
    with pytest.raises(error), upload(storage, floor=0) as one:
        one.write(b"abc")
        raise error
    assert staged(storage) == []


def test_below_the_floor_nothing_is_accepted(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(99))
    with pytest.raises(StorageFull) as raised, upload(storage, floor=100):
        pass
    assert (raised.value.free, raised.value.floor) == (99, 100)
    with upload(storage, floor=99):
        pass


def test_what_is_left_over_is_told_from_files_of_others(storage: Folder) -> None:
    with upload(storage, floor=0) as one:
        one.write(bytes(1 << 20))
        (storage.staging / "notes.txt").write_bytes(b"whole")
        (storage.staging / "copy.part").mkdir()
        (storage.staging / "copy.part" / "song").write_bytes(b"abc")
        found = {path.name for path, _ in left_over(storage)}
        assert found == {one.path.name, "copy.part"}
        for path, _ in left_over(storage):
            remove_left_over(path)
            remove_left_over(path)
        assert [path.name for path in staged(storage)] == ["notes.txt"]
