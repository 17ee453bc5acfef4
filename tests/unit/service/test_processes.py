"""The parts by which processes know of each other: pipe, seat, and what they hide."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from headroom.engine.wire import error_json
from headroom.errors import DatabaseFailed, InvalidFile, StorageFull
from headroom.jobs.watch import Watch
from headroom.jobs.worker import Worker
from headroom.service import engine_process
from headroom.service.hidden import Hidden
from headroom.service.seat import Seat, Seats
from support.service_place import Place

HOLD = """
import sys
from pathlib import Path
from headroom.service.seat import Seat
seat = Seat(Path(sys.argv[1]), "jobs.db", "cpu")
print(repr(seat.take(sys.argv[2])), flush=True)
sys.stdin.read()
"""


def holder(folder: Path, name: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_seat_is_free_again_when_its_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.service.seat._PATIENCE", 0.1)
    process, last = holder(tmp_path, "first")
    seat = Seat(tmp_path, "jobs.db", "cpu")
    try:
        assert last == "''"
        assert not seat.is_free()
        assert seat.take("second") is None
        assert Seat(tmp_path, "jobs.db", "cuda:0").is_free()
        assert Seat(tmp_path, "other.db", "cpu").is_free()
    finally:
        end(process)
    assert seat.is_free()
    assert seat.take("second") == "first"
    seat.leave()
    assert seat.is_free()


def test_the_seats_of_a_group_are_taken_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.service.seat._PATIENCE", 0.05)

    def seats(*cards: str) -> Seats:
        return Seats([Seat(tmp_path, "jobs.db", card) for card in cards])

    first, overlapping, other = seats("a", "b"), seats("b", "c"), seats("c")
    assert first.take("first") == ()
    assert not overlapping.is_free() and other.is_free()
    assert overlapping.take("second") is None
    reversed_ = seats("c", "b")
    assert reversed_.take("second") is None
    assert other.is_free()  # what was taken on the way was given back
    assert other.take("third") == ()  # nobody had it before
    other.leave()
    first.leave()
    assert overlapping.take("fourth") == ("first", "third")
    overlapping.leave()
    assert first.is_free()


def test_a_seat_is_taken_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_text", full)
    seat = Seat(tmp_path, "jobs.db", "cpu")
    assert seat.take("first") == "" and not Seat(tmp_path, "jobs.db", "cpu").is_free()
    seat.leave()


def test_the_jobs_of_the_dead_are_taken_back_once_the_disk_allows_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_process, "PAUSE_SECONDS", 0.0)
    job = place.submit()
    assert Worker(place.database, "dead").claim() is not None
    real, refusals = Watch.take_back, [StorageFull(0, 0), DatabaseFailed("away")]

    def refuse(watch: Watch, holder: str) -> list[str]:
        if refusals:
            raise refusals.pop()
        return real(watch, holder)

    monkeypatch.setattr(Watch, "take_back", refuse)
    engine_process.take_back(place.database, "dead", Event())
    assert (place.queue.get(job).state, refusals) == ("queued", [])


def test_paths_are_hidden_wherever_they_stand() -> None:
    hidden = Hidden((Path("/srv/files"), Path("/")))
    hidden.put(Path("/srv/files/ab/cd"), "ID")
    said = error_json(InvalidFile("/srv/files/ab/cd", "is a pipe", missing=False))
    shown = str(hidden.object(said))
    assert "/srv" not in shown and "ID" in shown
    assert hidden.json(["/srv/files/x", {"a": "/srv/files"}, 7, None]) == [
        "…/x",
        {"a": "…"},
        7,
        None,
    ]
