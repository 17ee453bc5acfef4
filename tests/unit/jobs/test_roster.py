"""The processes that work, and the errands they get."""

from __future__ import annotations

import pytest

from headroom.errors import Conflict, UnknownId
from headroom.jobs.database import Database
from headroom.jobs.roster import KEEP_SECONDS, Roster
from headroom.jobs.watch import PATIENCE, Watch
from support.clock import Hands


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def roster(database: Database, hands: Hands) -> Roster:
    return Roster(database, hands.clock)


def test_what_processes_tell(roster: Roster) -> None:
    roster.tell("b", '{"parts": []}')
    roster.tell("a", "{}")
    roster.tell("b", '{"parts": [1]}')
    assert [(one.name, one.status) for one in roster.members()] == [
        ("a", "{}"),
        ("b", '{"parts":[1]}'),
    ]
    roster.leave("b")
    assert [one.name for one in roster.members()] == ["a"]


def test_an_errand_is_for_one_process_and_ends_once(roster: Roster) -> None:
    roster.tell("a", "{}")
    roster.tell("b", "{}")
    (one,) = roster.ask("release", '{"part": "dit"}', "a")
    both = roster.ask("offload", "{}")
    assert [errand.member for errand in both] == ["a", "b"]
    assert [errand.verb for errand in roster.waiting("a")] == ["release", "offload"]
    assert [errand.verb for errand in roster.waiting("b")] == ["offload"]
    roster.end(one.id, answer='{"free": 1}')
    roster.end(one.id, error="{}")
    (ended,) = roster.errands([one.id])
    assert (ended.answer, ended.error) == ('{"free":1}', None) and ended.ended is not None
    assert [errand.verb for errand in roster.waiting("a")] == ["offload"]


def test_errands_for_nobody(roster: Roster) -> None:
    with pytest.raises(Conflict, match="no engine process"):
        roster.ask("offload", "{}")
    roster.tell("a", "{}")
    with pytest.raises(UnknownId, match="engine 'b'"):
        roster.ask("offload", "{}", "b")


def test_an_errand_ends_with_its_process_and_its_outcome_is_kept_for_a_while(
    roster: Roster, hands: Hands
) -> None:
    roster.tell("a", "{}")
    done, left = (*roster.ask("offload", "{}"), *roster.ask("release", "{}"))
    roster.end(done.id, answer="{}")
    roster.leave("a")
    assert [one.id for one in roster.errands([done.id, left.id])] == [done.id]
    hands.wall += KEEP_SECONDS + 1
    roster.tell("a", "{}")
    assert roster.errands([done.id]) == ()


def test_a_process_whose_row_stands_still_is_struck_off(
    database: Database, roster: Roster, hands: Hands
) -> None:
    watch = Watch(database, hands.clock)
    roster.tell("dead", "{}")
    roster.tell("alive", "{}")
    for _ in range(8):
        watch.look()
        hands.steady += PATIENCE / 4
        roster.tell("alive", "{}")
    assert [one.name for one in roster.members()] == ["alive"]
    watch.take_back("alive")  # its supervisor saw it end
    assert roster.members() == ()


def test_the_model_that_was_chosen_outlives_the_processes(roster: Roster) -> None:
    assert roster.chosen("a") is None
    roster.tell("p", "{}")
    roster.choose("a", "large")
    roster.choose("a", "small")
    roster.choose("b", "other")
    roster.begin()  # another service, beside one that works
    assert (roster.chosen("a"), roster.chosen("b")) == ("small", "other")
    roster.leave("p")
    assert roster.chosen("a") == "small"
    roster.choose("a", None)
    assert (roster.chosen("a"), roster.chosen("b")) == (None, "other")
    roster.begin()
    assert roster.chosen("b") is None
