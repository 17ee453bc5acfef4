"""Children are started again when they end, and end with their parent."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from headroom.engine.options import NO_OPTIONS, EngineOptions
from headroom.errors import InvalidRequest
from headroom.service import cards as cards_module
from headroom.service import child as child_module
from headroom.service import supervisor as supervisor_module
from headroom.service.cards import CardName, cards
from headroom.service.child import Child
from headroom.service.config import from_settings
from headroom.service.lifeline import release
from headroom.service.places import create_folders, seats_of
from headroom.service.start import SEAT_TAKEN
from headroom.service.supervisor import Supervisor
from headroom.settings import load

WAIT = "import sys; sys.stdin.read()"


def python(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


def looked(child: Child, condition: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        child.look()
        time.sleep(0.01)


def test_a_child_that_is_killed_is_started_again_and_its_end_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_module, "LEAST_SECONDS", 0.01)
    ends: list[str] = []
    child = Child("process", lambda: python(WAIT), lambda: ends.append("end"))
    child.look()
    first = child.process
    assert first is not None and ends == []
    first.kill()
    looked(child, lambda: child.process not in (None, first))
    assert ends == ["end"]
    second = child.process
    child.end()
    child.wait(time.monotonic() + 30)
    assert second is not None and second.returncode == 0
    assert ends == ["end", "end"] and child.process is None


def test_one_that_does_not_end_is_ended_by_force() -> None:
    child = Child("process", lambda: python("import time; time.sleep(60)"))
    child.look()
    process = child.process
    child.end()
    child.wait(time.monotonic() + 0.2)
    assert process is not None and process.returncode not in (None, 0)


def test_one_that_dies_at_once_is_started_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, starts = [100.0], []

    class Dead:
        stdin = None

        def poll(self) -> int:
            return 1

    def start() -> object:
        starts.append(now[0])
        return Dead()

    monkeypatch.setattr(child_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(child_module, "release", lambda process: None)
    child = Child("process", start)  # type: ignore[arg-type]
    for _ in range(4000):
        child.look()
        now[0] += 0.05
    gaps = [b - a for a, b in pairwise(starts)]
    assert gaps == sorted(gaps) and 29 < gaps[-1] < 31 and len(starts) < 20


def test_one_whose_card_is_taken_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child_module, "SEAT_SECONDS", 0.01)
    starts: list[int] = []

    def start() -> subprocess.Popen[bytes] | None:
        starts.append(1)
        return None if len(starts) == 2 else python(f"raise SystemExit({SEAT_TAKEN})")

    child = Child("process", start)
    looked(child, lambda: len(starts) == 4)
    child.wait(time.monotonic() + 30)
    assert caplog.text == ""


def test_a_system_without_room_for_a_process_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_module, "SEAT_SECONDS", 0.01)
    faults = [OSError(11, "try again")]

    def start() -> subprocess.Popen[bytes]:
        if faults:
            raise faults.pop()
        return python(WAIT)

    child = Child("process", start)
    looked(child, lambda: child.process)
    assert child.process is not None
    release(child.process)
    child.wait(time.monotonic() + 30)


def test_the_processor_is_one_card() -> None:
    assert cards(" CPU") == (CardName("cpu", ("cpu",)),)


def test_where_the_cards_cannot_be_listed_the_word_is_the_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **more: object) -> object:
        raise subprocess.CalledProcessError(1, "python")

    monkeypatch.setattr(cards_module.subprocess, "run", fail)
    assert cards("cuda") == (CardName("cuda", ("cuda",)),)


def test_a_group_is_one_engine_process_with_the_identities_of_its_cards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {"cuda": [("cuda:0", "cuda aa"), ("cuda:1", "cuda bb"), ("cuda:2", "cuda cc")]}
    monkeypatch.setattr(cards_module, "_listed", lambda word: known[word])
    assert cards("cuda") == tuple(CardName(one, (id,)) for one, id in known["cuda"])
    assert cards("cuda:1,CUDA:0") == (CardName("cuda:1,cuda:0", ("cuda bb", "cuda aa")),)
    named = cards("auto", "cuda:0,cuda:01 cuda:2 cpu simulated:a,simulated:b")
    assert named == (
        CardName("cuda:0,cuda:01", ("cuda aa", "cuda bb")),
        CardName("cuda:2", ("cuda cc",)),
        CardName("cpu", ("cpu",)),
        CardName("simulated:a,simulated:b", ("simulated:a", "simulated:b")),
    )
    assert cards("cuda:7,cuda:0") == (CardName("cuda:7,cuda:0", ("cuda:7", "cuda aa")),)


@pytest.mark.parametrize("named", ["{0}/a/jobs.db", "sqlite:///{0}/a/jobs.db"])
def test_seats_are_beside_the_database(named: str, tmp_path: Path) -> None:
    config = from_settings(load({"HEADROOM_DATA_DIR": str(tmp_path)}))
    config = replace(config, database=named.format(tmp_path))
    assert seats_of(config) == tmp_path / "a"
    assert seats_of(replace(config, database=tmp_path / "a" / "jobs.db")) == tmp_path / "a"
    elsewhere = seats_of(replace(config, database="postgresql://host/name"))
    assert elsewhere.is_absolute() and tmp_path not in elsewhere.parents


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("HEADROOM_DATA_DIR", "data"),
        ("HEADROOM_SERVICE_DATABASE", "data/jobs.db"),
        ("HEADROOM_SERVICE_STORAGE", "data/files"),
    ],
)
def test_a_folder_that_cannot_be_made_is_named_by_its_variable(
    tmp_path: Path, name: str, below: str
) -> None:
    (tmp_path / "file").write_text("")
    named = {"HEADROOM_DATA_DIR": str(tmp_path / "good"), name: str(tmp_path / "file" / below)}
    with pytest.raises(InvalidRequest, match=name):
        create_folders(from_settings(load(named)))


def test_a_storage_that_cannot_be_used_is_refused_before_anything_starts(tmp_path: Path) -> None:
    config = from_settings(load({"HEADROOM_DATA_DIR": str(tmp_path)}))
    with pytest.raises(InvalidRequest, match="storage"):
        Supervisor(replace(config, storage="ftp://host/songs"), NO_OPTIONS)


@pytest.mark.parametrize("by", ["setting", "flag"])
def test_engine_processes_are_for_the_device_that_is_named(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr(supervisor_module, "cards", lambda *names: asked.append(names) or ())
    named = {"HEADROOM_DEVICE": "cuda:1,cuda:0"} if by == "setting" else {}
    options = EngineOptions(device="cuda:1,cuda:0") if by == "flag" else EngineOptions()
    config = from_settings(load({"HEADROOM_DATA_DIR": str(tmp_path), **named}))
    with Supervisor(replace(config, free_bytes=0), options, web=False):
        assert asked == [("cuda:1,cuda:0", None)]


def test_a_supervisor_that_was_not_started_can_be_closed(tmp_path: Path) -> None:
    Supervisor(from_settings(load({"HEADROOM_DATA_DIR": str(tmp_path)})), NO_OPTIONS).close()
