"""The rules of the account: who is next, who is asked for what, and what a card has room for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from headroom.errors import Cancelled, DoesNotFit
from headroom.runtime.arbiter import arbiter as module
from headroom.runtime.arbiter.account import AGEING, Ask, Card, Member, Turn, judge
from headroom.runtime.arbiter.arbiter import Arbiter
from headroom.runtime.arbiter.folder import Account, place_of
from support.account_process import PLACES, Table
from support.account_world import World

ME = Member("me", need=50, ticket=9, since=1000.0)
NOW = 1000.0


def holder(id: str, idle: int, used: float, *, listens: bool = True, leased: int = 0) -> Member:
    return Member(id, idle=idle, used=used, listens=listens, leased=leased)


def card_with(*others: Member, total: int = 100, outside: int = 0) -> Card:
    """A card on which others have what they claim, and programs outside something too."""
    return Card(total, total - outside - sum(other.claim for other in others))


def test_idle_bytes_are_asked_for_from_who_used_them_longest_ago_and_no_more_than_are_missing() -> (
    None
):
    late, early = holder("late", 40, used=20.0), holder("early", 40, used=10.0)
    found = judge(ME, (late, early), card_with(late, early), NOW)
    assert found.turn is Turn.ASKED and found.asks == {"early": Ask(1, 30)}
    found = judge(replace(ME, need=90), (late, early), card_with(late, early), NOW)
    assert found.asks == {"early": Ask(1, 40), "late": Ask(1, 30)}


def test_leased_bytes_are_waited_for_and_nobody_is_asked_meanwhile() -> None:
    busy = Member("busy", leased=60, idle=5, listens=True)
    found = judge(ME, (busy,), card_with(busy), NOW)
    assert found.turn is Turn.LEASED and not found.asks


def test_what_nobody_gives_is_outside() -> None:
    silent = holder("silent", 60, used=1.0, listens=False)
    assert judge(ME, (silent,), card_with(silent), NOW).turn is Turn.OUTSIDE
    assert judge(ME, (), card_with(outside=60), NOW).turn is Turn.OUTSIDE
    assert judge(ME, (), card_with(outside=50), NOW).turn is Turn.GRANTED
    waits = replace(silent, need=1, ticket=10, since=NOW)  # it looks at the account itself
    assert judge(ME, (waits,), card_with(waits), NOW).turn is Turn.ASKED


def test_turns_go_by_priority_and_age() -> None:
    older = Member("older", need=10, ticket=8, since=999.0)
    assert judge(ME, (older,), card_with(), NOW).turn is Turn.QUEUED
    assert judge(replace(ME, priority=1), (older,), card_with(), NOW).turn is Turn.GRANTED
    grown = judge(
        replace(ME, priority=1, since=1000 + AGEING), (older,), card_with(), 1000 + AGEING
    )
    assert grown.turn is Turn.QUEUED and grown.ahead == 1  # it has waited long enough
    assert judge(ME, (replace(older, stuck=True),), card_with(), NOW).turn is Turn.GRANTED


def test_what_was_outside_at_a_lease_is_not_taken_for_what_was_leased() -> None:
    """Of 60 leased bytes none is taken yet; 30 of those in use are somebody's outside."""
    busy = Member("busy", leased=60, outside=30)
    assert Card(100, 70).room((busy,)) == 10
    assert Card(100, 70).room((replace(busy, outside=0),)) == 40


def test_who_does_not_answer_is_asked_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    silent = Arbiter(Account(tmp_path), lambda: Card(100, 40, 60, 60), lambda wanted: None)
    silent.refresh()
    silent.listens(True)
    mine = Arbiter(Account(tmp_path), lambda: Card(100, 40), lambda wanted: None)
    assert mine.step(50).turn is Turn.ASKED
    time.sleep(0.01)
    assert mine.step(50).turn is Turn.OUTSIDE
    with pytest.raises(DoesNotFit, match="doctor"):
        mine.lease(50, patience=0.01)
    assert mine.me.need == 0


def test_waiting_can_be_stopped_and_the_place_is_told(tmp_path: Path) -> None:
    holds = Arbiter(Account(tmp_path), lambda: Card(100, 100), lambda wanted: None)
    holds.lease(80)
    waits = Arbiter(Account(tmp_path), lambda: Card(100, 100), lambda wanted: None)
    places: list[int] = []
    with pytest.raises(Cancelled):
        waits.lease(50, stop=lambda: bool(places), moved=places.append)
    assert places == [1] and waits.me.need == 0
    holds.end()
    waits.lease(50)
    assert [other.leased for other in holds.others()] == [50]


def test_the_account_survives_crashes_at_any_change(tmp_path: Path) -> None:
    done = 0
    for seed in range(3):
        world = World(tmp_path / str(seed), seed)
        for _ in range(150):
            world.step()
        world.finish()
        done += world.done["granted"]
    assert done > 10


HOLDER = """
import sys
from pathlib import Path
from headroom.runtime.arbiter.account import Card
from headroom.runtime.arbiter.arbiter import Arbiter
from headroom.runtime.arbiter.folder import Account
held = Arbiter(Account(Path(sys.argv[1])), lambda: Card(100, 100), lambda wanted: None)
held.lease(80)
print("holds", flush=True)
sys.stdin.read()
"""


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"holds"
        mine = Arbiter(Account(tmp_path), lambda: Card(100, 100), lambda wanted: None)
        assert mine.step(50).turn is Turn.LEASED
        process.kill()
        process.wait()
        assert mine.step(50).turn is Turn.GRANTED and mine.others() == []


def test_a_record_that_cannot_be_read_is_no_member(tmp_path: Path) -> None:
    one = Arbiter(Account(tmp_path), lambda: Card(100, 100), lambda wanted: None)
    other = Arbiter(Account(tmp_path), lambda: Card(100, 100), lambda wanted: None)
    record = tmp_path / f"{other.me.id}.json"
    record.write_text(json.dumps({"id": 5, "leased": "much"}))
    assert one.others() == []
    other.end()
    assert len(one.others()) == 1


def test_folders_of_cards_have_names_that_every_system_takes() -> None:
    names = {place_of(Path(), card).name for card in ("cuda GPU-1/2:3", "cuda GPU-1/2;3", "карта")}
    assert len(names) == 3 and all(name.isascii() and "/" not in name for name in names)


def test_of_real_processes_none_takes_what_another_has(tmp_path: Path) -> None:
    """Three lease again and again; a fourth is killed while it holds a lease."""
    (tmp_path / "table").write_bytes(bytes(8 * PLACES))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(place: int, leases: int) -> subprocess.Popen[bytes]:
        module = [sys.executable, "-m", "support.account_process"]
        given = [str(tmp_path), str(place), str(leases), str(place)]
        pipe = subprocess.PIPE
        made = subprocess.Popen([*module, *given], stdin=pipe, stdout=pipe, env=environment)
        assert made.stdout is not None and made.stdout.readline().strip() == b"ready"
        return made

    processes = [start(place, 50) for place in range(3)]
    victim = start(3, 1_000_000)
    try:
        for process in (*processes, victim):
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        time.sleep(0.05)
        victim.kill()
        victim.wait()
        Table(tmp_path / "table", 3).mine = 0  # as a driver frees what the dead had
        for process in processes:
            assert process.communicate(timeout=120)[0].strip() == b"done"
    finally:
        for process in (*processes, victim):
            process.kill()
            process.communicate()
