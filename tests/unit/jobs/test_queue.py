"""Accepting, showing and cancelling jobs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert

from headroom.errors import Conflict, InvalidRequest, QueueFull, StorageFull, UnknownId
from headroom.jobs.database import Database, connect
from headroom.jobs.queue import Queue
from headroom.jobs.schema import open_database
from headroom.jobs.tables import files
from headroom.jobs.values import Asked, Told
from headroom.jobs.worker import Worker
from support.clock import Hands

SONG = Asked('{"task": "text2music"}')


def test_a_job_is_on_disk_when_it_is_accepted(where: str, queue: Queue, hands: Hands) -> None:
    job = queue.submit(Asked('{"task": "cover"}', "a", priority=3, within=60.0))
    other = open_database(where)
    again = Queue(other).get(job.id)
    other.close()
    assert again == job
    assert json.loads(job.request) == {"task": "cover"}
    assert (job.state, job.key, job.priority, job.attempt) == ("queued", "a", 3, 0)
    assert (job.created, job.deadline) == (hands.wall, hands.wall + 60.0)


def test_any_json_comes_back_the_same(queue: Queue) -> None:
    value = {"caption": "a\0b \ud800 é 𝄞", "n": [1, 2.5, None, True], "": {"b": 1, "a": 2}}
    job = queue.submit(Asked(json.dumps(value)))
    assert json.loads(queue.get(job.id).request) == value
    assert list(json.loads(job.request)) == list(value)


@pytest.mark.parametrize("text", ["", "{", "NaN", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_what_is_not_json_is_refused(queue: Queue, text: str) -> None:
    with pytest.raises(InvalidRequest, match="request: "):
        queue.submit(Asked(text))
    assert queue.stats().counts == {}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Asked("{}", repeat=""), "idempotency key"),
        (Asked("{}", repeat="a" * 201), "idempotency key"),
        (Asked("{}", repeat="a\0"), "idempotency key"),
        (Asked("{}", priority=101), "priority"),
        (Asked("{}", within=0.0), "within"),
        (Asked("{}", within=float("inf")), "within"),
        (Asked("{}", within=float("nan")), "within"),
    ],
)
def test_nonsense_around_a_request_is_refused(queue: Queue, asked: Asked, field: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{field}: "):
        queue.submit(asked)


def test_the_same_idempotency_key_yields_the_same_job(queue: Queue, worker: Worker) -> None:
    job = queue.submit(Asked('{"a": 1, "b": 2}', "k", repeat="once"))
    assert queue.submit(Asked('{ "b": 2, "a": 1 }', "k", repeat="once")) == job
    assert queue.submit(Asked('{"a": 1}', "other", repeat="once")).id != job.id
    claim = worker.claim()
    assert claim is not None
    worker.finish(claim)
    assert queue.submit(Asked('{"a": 1, "b": 2}', "k", repeat="once")).state == "done"
    assert sum(queue.stats().counts.values()) == 2


def test_the_same_idempotency_key_with_another_request_conflicts(queue: Queue) -> None:
    job = queue.submit(Asked('{"a": 1}', repeat="once"))
    with pytest.raises(Conflict) as raised:
        queue.submit(Asked('{"a": 2}', repeat="once"))
    assert raised.value.id == job.id
    assert queue.stats().counts == {"queued": 1}


def test_a_full_queue_accepts_nothing_and_leaves_nothing(database: Database) -> None:
    queue = Queue(database, most=2)
    jobs = [queue.submit(Asked("{}", "a", repeat=str(n))) for n in range(2)]
    with pytest.raises(QueueFull) as raised:
        queue.submit(Asked("{}", "b"))
    assert (raised.value.waiting, raised.value.limit, raised.value.own) == (2, 2, False)
    assert queue.stats().counts == {"queued": 2}
    assert queue.submit(Asked("{}", "a", repeat="0")) == jobs[0]
    queue.cancel(jobs[0].id)
    queue.submit(Asked("{}", "b"))


def test_a_key_has_a_limit_of_its_own(queue: Queue) -> None:
    queue.submit(Asked("{}", "a"), most_own=1)
    with pytest.raises(QueueFull) as raised:
        queue.submit(Asked("{}", "a"), most_own=1)
    assert (raised.value.waiting, raised.value.limit, raised.value.own) == (1, 1, True)
    queue.submit(Asked("{}", "b"), most_own=1)


def test_many_at_once_never_exceed_the_limit(where: str) -> None:
    def ask(n: int) -> bool:
        database = connect(where)
        try:
            Queue(database, most=5).submit(Asked("{}", repeat=str(n % 9)))
        except QueueFull:
            return False
        finally:
            database.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        accepted = sum(pool.map(ask, range(24)))
    database = connect(where)
    counts = Queue(database).stats().counts
    database.close()
    assert counts == {"queued": 5}
    assert accepted >= 5


def test_no_room_no_job(database: Database) -> None:
    def check() -> None:
        raise StorageFull(1, 2)

    queue = Queue(database, check_room=check)
    with pytest.raises(StorageFull):
        queue.submit(SONG)
    assert queue.stats().counts == {}


def test_inputs_have_to_be_there_and_ones_own(database: Database, queue: Queue) -> None:
    row = {"blob": "b", "hash": "h", "size": 1, "name": "", "kind": "audio/wav", "created": 1.0}
    with database.write() as connection:
        connection.execute(insert(files).values(id="f", owner="a", **row))
    queue.submit(Asked("{}", "a", inputs=("f", "f")))
    for asked in (Asked("{}", "b", inputs=("f",)), Asked("{}", "a", inputs=("f", "g"))):
        with pytest.raises(UnknownId) as raised:
            queue.submit(asked)
        assert raised.value.kind == "file"
    assert queue.stats().counts == {"queued": 1}


def test_a_job_of_another_key_does_not_exist(queue: Queue) -> None:
    job = queue.submit(Asked("{}", "a"))
    assert queue.get(job.id, "a") == job
    for call in (queue.get, queue.cancel, queue.position):
        with pytest.raises(UnknownId):
            call(job.id, "b")
    with pytest.raises(UnknownId):
        queue.story(job.id, owner="b")
    assert queue.page("b").jobs == ()
    assert queue.get(job.id).state == "queued"


def test_pages_lead_through_all_jobs_newest_first(queue: Queue) -> None:
    jobs = [queue.submit(Asked("{}", "ab"[n % 2])) for n in range(7)]
    seen, cursor = [], None
    while True:
        page = queue.page(cursor=cursor, most=3)
        seen += page.jobs
        if page.next is None:
            break
        cursor = page.next
        queue.submit(SONG)  # what arrives meanwhile moves nothing
    assert seen == jobs[::-1]
    assert [job.key for job in queue.page("a").jobs] == ["a"] * 4
    queue.cancel(jobs[2].id)
    assert [job.id for job in queue.page(states=["cancelled"]).jobs] == [jobs[2].id]


@pytest.mark.parametrize("cursor", ["", "-1", "x", "9" * 30, "１"])
def test_a_cursor_that_no_page_came_with_is_refused(queue: Queue, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor: "):
        queue.page(cursor=cursor)


def test_a_queued_job_is_cancelled_at_once(queue: Queue, worker: Worker, hands: Hands) -> None:
    job = queue.submit(SONG)
    hands.pass_by(5)
    cancelled = queue.cancel(job.id)
    assert (cancelled.state, cancelled.ended) == ("cancelled", hands.wall)
    assert worker.claim() is None
    hands.pass_by(5)
    assert queue.cancel(job.id) == cancelled


def test_a_running_job_is_asked_to_stop(queue: Queue, worker: Worker) -> None:
    job = queue.submit(SONG)
    claim = worker.claim()
    assert claim is not None
    assert worker.beat(claim) == "go"
    assert queue.cancel(job.id).state == "running"
    assert worker.beat(claim) == "cancel"
    worker.stopped(claim)
    assert queue.get(job.id).state == "cancelled"


def test_events_are_read_on_from_any_number(queue: Queue, worker: Worker) -> None:
    job = queue.submit(SONG)
    claim = worker.claim()
    assert claim is not None
    assert worker.tell(claim, [Told('{"n": 1}'), Told('{"n": 2}', passing=True)]) == 2
    assert worker.tell(claim, [Told('{"n": 3}')]) == 3
    story = queue.story(job.id, after=1)
    assert [(e.number, json.loads(e.event)["n"]) for e in story.events] == [(2, 2), (3, 3)]
    assert story.job.told == 3 and not story.job.has_ended
    assert [e.number for e in queue.story(job.id, most=2).events] == [1, 2]
    worker.finish(claim, '{"songs": 1}')
    story = queue.story(job.id)
    assert [e.number for e in story.events] == [1, 3]
    assert (story.job.state, story.job.told, story.job.result) == ("done", 3, '{"songs":1}')


def test_positions_are_the_order_of_claims(queue: Queue, worker: Worker) -> None:
    keys = [("a", 0), ("a", 0), ("b", 0), ("a", 0), ("c", 1), ("b", 0), ("a", 1)]
    first = queue.submit(Asked("{}", "b"))
    claim = worker.claim()
    assert claim is not None and claim.job == first.id
    jobs = [queue.submit(Asked("{}", key, priority=priority)) for key, priority in keys]
    worker.give_back(claim)
    waiting = [first, *jobs]
    expected = sorted(waiting, key=lambda job: queue.position(job.id))
    assert sorted(queue.position(job.id) for job in waiting) == list(range(len(waiting)))
    claimed = [claim.job for _ in waiting if (claim := worker.claim()) is not None]
    assert claimed == [job.id for job in expected]
    assert queue.position(first.id) == 0
    assert queue.get(first.id).attempt == 2


def test_the_mean_time_is_that_of_recent_jobs(queue: Queue, worker: Worker, hands: Hands) -> None:
    assert queue.stats().seconds is None
    for seconds in (10.0, 20.0):
        queue.submit(SONG)
        claim = worker.claim()
        assert claim is not None
        hands.pass_by(seconds)
        worker.finish(claim)
    assert queue.stats().seconds == pytest.approx(15.0)
