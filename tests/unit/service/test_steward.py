"""Errands that end during a look, after the end of the process, or while the database fails."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.errors import DatabaseFailed
from headroom.jobs.roster import Errand, Roster
from headroom.runtime.events import never
from headroom.service.steward import Steward
from support.web import Service

ME = "of a test"


class Loads:
    """Engines that count what they were told to load."""

    settings, number = None, 0

    def load(self, *_: object) -> None:
        self.number += 1

    def status(self) -> dict[str, object]:
        return {"management": False, "engines": []}


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def roster(service: Service) -> Roster:
    return service.doors.roster


@pytest.fixture
def one(service: Service, roster: Roster, loads: Any) -> Steward:
    roster.tell(ME, "{}")
    return Steward(roster, ME, loads, service.doors.hidden)


@pytest.fixture
def errand(one: Steward, roster: Roster) -> Errand:
    """To load a model, and known to the process."""
    (made,) = roster.ask("load", '{"family": "tone"}', ME)
    one.look()
    return made


def test_one_that_ends_during_a_look_is_run_once(
    one: Steward, roster: Roster, errand: Errand, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = roster.waiting

    def ended_now(name: str) -> tuple[Errand, ...]:
        found = waiting(name)
        assert one.load(never)
        return found

    monkeypatch.setattr(roster, "waiting", ended_now)
    one.look()
    assert not one.load(never)
    assert loads.number == 1 and roster.errands([errand.id])[0].answer is not None


def test_a_database_that_fails_ends_no_process(
    one: Steward, roster: Roster, errand: Errand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise DatabaseFailed("the disk is slow")

    with monkeypatch.context() as context:
        context.setattr(roster, "end", failing)
        assert one.load(never)
    assert roster.errands([errand.id])[0].ended is None
    one.look()
    assert one.load(never) and roster.errands([errand.id])[0].answer is not None


def test_a_process_that_has_left_tells_nothing(
    one: Steward, roster: Roster, errand: Errand
) -> None:
    with one:
        pass
    one.job = "of a test"  # which would be told
    assert one.load(never)
    assert roster.members() == ()
