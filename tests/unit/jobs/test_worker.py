"""Claiming jobs, ending them, and being taken for dead."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import insert, select, text

from headroom.engine.wire import error_from
from headroom.errors import ClaimLost, InvalidRequest, WorkerLost
from headroom.jobs.database import Database, connect
from headroom.jobs.order import NEXT, OVERTAKING_SECONDS
from headroom.jobs.queue import Queue
from headroom.jobs.tables import files, inputs, jobs
from headroom.jobs.values import Asked, Claim, Made, Told
from headroom.jobs.watch import PATIENCE, RETRIES, Watch
from headroom.jobs.worker import Worker
from support.clock import Hands


def claimed(worker: Worker) -> Claim:
    claim = worker.claim()
    assert claim is not None
    return claim


def die(watch: Watch, hands: Hands, seconds: float = PATIENCE) -> list[str]:
    """Let time pass in small steps, so that a worker that does not beat is taken for dead."""
    taken = watch.look()
    steps = 6
    for _ in range(steps):
        hands.pass_by(seconds / steps)
        taken += watch.look()
    return taken


def test_keys_take_turns_whoever_came_first(queue: Queue, worker: Worker) -> None:
    for key in "aaaab":
        queue.submit(Asked("{}", key))
    assert claimed(worker).key == "a"
    queue.submit(Asked("{}", "c"))
    assert [claimed(worker).key for _ in range(5)] == ["b", "c", "a", "a", "a"]
    assert worker.claim() is None


def test_priority_goes_before_turns(queue: Queue, worker: Worker) -> None:
    for key, priority in [("a", 0), ("b", -5), ("a", 1), ("a", 1)]:
        queue.submit(Asked("{}", key, priority=priority))
    claims = [claimed(worker) for _ in range(4)]
    assert [queue.get(claim.job).priority for claim in claims] == [1, 1, 0, -5]


def asked(queue: Queue, what: str, key: str = "", priority: int = 0) -> str:
    return queue.submit(Asked(json.dumps(what), key, priority=priority)).id


def has_a(request: str) -> bool:
    return request == '"a"'


def preferred(worker: Worker) -> str | None:
    claim = worker.claim(has_a)
    return None if claim is None else claim.job


def test_a_worker_prefers_what_it_has_at_hand(queue: Queue, worker: Worker) -> None:
    b, a, c, again = (asked(queue, what) for what in ("b", "a", "c", "a"))
    assert [preferred(worker) for _ in range(5)] == [a, again, b, c, None]


def test_only_jobs_of_the_minute_after_it_overtake_a_job(
    queue: Queue, worker: Worker, hands: Hands
) -> None:
    b = asked(queue, "b")
    hands.pass_by(OVERTAKING_SECONDS)
    soon = asked(queue, "a")
    hands.pass_by(1)
    late = asked(queue, "a")
    assert [preferred(worker) for _ in range(3)] == [soon, b, late]


def test_what_is_at_hand_changes_no_keys_turn_and_no_priority(
    queue: Queue, worker: Worker, hands: Hands
) -> None:
    first, second = asked(queue, "a", "old"), asked(queue, "a", "old")
    hands.pass_by(1)
    other = asked(queue, "b", "new")
    assert preferred(worker) == first
    assert preferred(worker) == other  # whose turn it is, although the key `old` asked earlier
    urgent, last = asked(queue, "b", "new", priority=1), asked(queue, "a", "new")
    assert [preferred(worker) for _ in range(3)] == [urgent, second, last]


def test_a_job_that_was_begun_is_not_overtaken(queue: Queue, worker: Worker) -> None:
    b = asked(queue, "b")
    worker.give_back(claimed(worker))
    asked(queue, "a")
    assert preferred(worker) == b


def test_a_claim_holds_what_the_work_needs(queue: Queue, worker: Worker, hands: Hands) -> None:
    job = queue.submit(Asked('{"a":1}', "k", within=9.0))
    hands.pass_by(1)
    assert claimed(worker) == Claim(job.id, 1, "one", '{"a":1}', "k", job.deadline)
    running = queue.get(job.id)
    assert (running.state, running.attempt, running.started) == ("running", 1, hands.wall)


def test_the_statement_that_claims_looks_at_no_job_that_ended(
    queue: Queue, worker: Worker, database: Database
) -> None:
    first = queue.submit(Asked("{}"))
    worker.finish(claimed(worker))
    with database.write() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == first.id)).mappings().one()
        more = [{**row, "number": n, "id": str(n)} for n in range(100, 1000)]
        connection.execute(insert(jobs), more)
    query = select(jobs.c.number).where(jobs.c.state == "queued").order_by(*NEXT).limit(1)
    with database.read() as connection:
        compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
        if not database.is_sqlite:
            connection.execute(text("ANALYZE"))
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        plan = "\n".join(str(row) for row in connection.execute(text(f"{explain} {compiled}")))
    assert "ix_jobs_waiting" in plan, plan


def test_two_workers_never_hold_the_same_job(where: str) -> None:
    database = connect(where)
    queue = Queue(database)
    for n in range(30):
        queue.submit(Asked("{}", "abc"[n % 3]))

    def work(name: str) -> list[str]:
        own = connect(where)
        worker = Worker(own, name)
        done = []
        while (claim := worker.claim()) is not None:
            worker.finish(claim)
            done.append(claim.job)
        own.close()
        return done

    with ThreadPoolExecutor(4) as pool:
        done = Counter(id for ids in pool.map(work, "wxyz") for id in ids)
    assert set(done.values()) == {1} and len(done) == 30
    assert queue.stats().counts == {"done": 30}
    database.close()


def test_every_ending_is_final(queue: Queue, worker: Worker) -> None:
    def ends() -> dict[str, object]:
        return {
            "finish": lambda claim: worker.finish(claim),
            "fail": lambda claim: worker.fail(claim, "{}"),
            "stopped": lambda claim: worker.stopped(claim),
        }

    for first in ends().values():
        job = queue.submit(Asked("{}"))
        claim = claimed(worker)
        first(claim)  # type: ignore[operator]
        ended = queue.get(job.id)
        assert ended.has_ended
        for later in ends().values():
            with pytest.raises(ClaimLost):
                later(claim)  # type: ignore[operator]
        for act in (worker.give_back, lambda claim: worker.tell(claim, [Told("{}")])):
            with pytest.raises(ClaimLost) as raised:
                act(claim)
            assert (raised.value.job, raised.value.attempt) == (job.id, 1)
        assert worker.beat(claim) == "lost"
        assert queue.get(job.id) == ended


def test_a_failure_keeps_its_error(queue: Queue, worker: Worker, hands: Hands) -> None:
    job = queue.submit(Asked("{}"))
    claim = claimed(worker)
    hands.pass_by(3)
    with pytest.raises(InvalidRequest):
        worker.fail(claim, "no json")
    worker.fail(claim, '{"type": "DoesNotFit"}')
    failed = queue.get(job.id)
    assert (failed.state, failed.error) == ("failed", '{"type":"DoesNotFit"}')
    assert (failed.started, failed.ended) == (hands.wall - 3, hands.wall)


def test_a_job_past_its_deadline_is_not_begun(queue: Queue, worker: Worker, hands: Hands) -> None:
    late = queue.submit(Asked("{}", within=10.0))
    queue.submit(Asked("{}", within=11.0))
    hands.pass_by(10)
    assert claimed(worker).job != late.id
    assert queue.get(late.id).state == "expired"


def test_a_job_past_its_deadline_is_stopped(queue: Queue, worker: Worker, hands: Hands) -> None:
    job = queue.submit(Asked("{}", within=10.0))
    claim = claimed(worker)
    assert worker.beat(claim) == "go"
    hands.pass_by(10)
    assert worker.beat(claim) == "expire"
    worker.stopped(claim)
    assert queue.get(job.id).state == "expired"


@pytest.mark.parametrize(
    ("asked", "cancel", "state"),
    [
        (Asked("{}"), False, "queued"),
        (Asked("{}"), True, "cancelled"),
        (Asked("{}", within=5.0), False, "expired"),
    ],
)
def test_a_job_given_back_is_next_or_ends(
    queue: Queue, worker: Worker, hands: Hands, asked: Asked, cancel: bool, state: str
) -> None:
    job = queue.submit(asked)
    queue.submit(Asked("{}", "other"))
    claim = claimed(worker)
    if cancel:
        queue.cancel(job.id)
    hands.pass_by(6)
    worker.give_back(claim)
    back = queue.get(job.id)
    assert (back.state, back.deaths) == (state, 0)
    assert (claimed(worker).job == job.id) == (state == "queued")
    assert worker.beat(claim) == "lost"


def test_inputs_are_held_until_the_job_ends(
    queue: Queue, worker: Worker, database: Database
) -> None:
    row = {"blob": "b", "hash": "h", "size": 1, "name": "", "kind": "audio/wav", "created": 1.0}
    with database.write() as connection:
        connection.execute(insert(files).values(id="f", owner="", **row))

    def held() -> int:
        with database.read() as connection:
            return len(connection.execute(inputs.select()).all())

    queue.submit(Asked("{}", inputs=("f",)))
    claim = claimed(worker)
    assert held() == 1
    worker.give_back(claim)
    assert held() == 1
    worker.finish(claimed(worker))
    assert held() == 0
    queue.cancel(queue.submit(Asked("{}", inputs=("f",))).id)
    assert held() == 0


def test_a_former_holder_records_no_outputs(
    queue: Queue, worker: Worker, database: Database, hands: Hands
) -> None:
    row = {"blob": "b", "hash": "h", "size": 1, "name": "", "kind": "audio/wav", "created": 1.0}
    with database.write() as connection:
        connection.execute(insert(files).values(id="f", owner="", **row))
    queue.submit(Asked("{}"))
    claim = claimed(worker)
    Watch(database, hands.clock).take_back("one")
    with pytest.raises(ClaimLost):
        worker.finish(claim, made=[Made("f")])
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM outputs")) == 0


def test_a_worker_is_dead_when_its_number_stands_still(
    queue: Queue, worker: Worker, database: Database, hands: Hands
) -> None:
    job = queue.submit(Asked("{}"))
    claim = claimed(worker)
    watch = Watch(database, hands.clock)
    for _ in range(10):
        assert die(watch, hands, PATIENCE * 0.9) == []
        assert worker.beat(claim) == "go"
    assert die(watch, hands) == [job.id]
    again = queue.get(job.id)
    assert (again.state, again.attempt, again.deaths) == ("queued", 1, 1)
    assert worker.beat(claim) == "lost"
    second = claimed(Worker(database, "two", hands.clock))
    assert (second.job, second.attempt) == (job.id, 2)
    with pytest.raises(ClaimLost):
        worker.finish(claim)
    assert die(watch, hands, PATIENCE * 0.9) == []


def test_wall_clocks_that_are_set_kill_nobody(
    queue: Queue, worker: Worker, database: Database, hands: Hands
) -> None:
    job = queue.submit(Asked("{}"))
    claimed(worker)
    watch = Watch(database, hands.clock)
    assert watch.look() == []
    for wall in (0.0, 4e9):
        hands.wall = wall
        assert watch.look() == []
    hands.wall = 0.0
    assert die(watch, hands) == [job.id]


def test_an_observer_that_was_away_kills_nobody(
    queue: Queue, worker: Worker, database: Database, hands: Hands
) -> None:
    queue.submit(Asked("{}"))
    claim = claimed(worker)
    watch = Watch(database, hands.clock)
    watch.look()
    hands.pass_by(1000 * PATIENCE)
    assert watch.look() == []
    assert worker.beat(claim) == "go"


@pytest.mark.parametrize("act", ["beats", "finishes"])
def test_a_worker_that_acts_between_look_and_judgement_is_not_dead(
    queue: Queue, worker: Worker, database: Database, hands: Hands, act: str
) -> None:
    job = queue.submit(Asked("{}"))
    claim = claimed(worker)

    class Slow(Watch):
        def _take(self, whose):  # type: ignore[no-untyped-def]
            if act == "beats":
                assert worker.beat(claim) == "go"
            else:
                worker.finish(claim)
            return super()._take(whose)

    assert die(Slow(database, hands.clock), hands) == []
    assert queue.get(job.id).state == ("running" if act == "beats" else "done")


def test_a_claim_is_worth_nothing_to_another(queue: Queue, worker: Worker) -> None:
    queue.submit(Asked("{}"))
    claim = claimed(worker)
    for stolen in (replace(claim, holder="two"), replace(claim, attempt=2)):
        assert worker.beat(stolen) == "lost"
        with pytest.raises(ClaimLost):
            worker.finish(stolen)
    worker.finish(claim)


def test_a_job_whose_workers_die_fails_with_the_reason(
    queue: Queue, worker: Worker, database: Database
) -> None:
    job = queue.submit(Asked("{}"))
    watch = Watch(database)
    for deaths in range(1, RETRIES + 1):
        claimed(worker)
        assert watch.take_back("another") == []
        assert watch.take_back("one") == [job.id]
        assert (queue.get(job.id).state, queue.get(job.id).deaths) == ("queued", deaths)
    claimed(worker)
    watch.take_back("one")
    failed = queue.get(job.id)
    assert (failed.state, failed.attempt, failed.deaths) == ("failed", 3, 3)
    assert failed.error is not None
    error = error_from(json.loads(failed.error))
    assert isinstance(error, WorkerLost) and error.attempts == 3
    assert worker.claim() is None


@pytest.mark.parametrize(
    ("asked", "cancel", "state"),
    [(Asked("{}"), True, "cancelled"), (Asked("{}", within=5.0), False, "expired")],
)
def test_a_dead_workers_job_is_not_taken_up_if_nobody_wants_it(
    queue: Queue,
    worker: Worker,
    database: Database,
    hands: Hands,
    asked: Asked,
    cancel: bool,
    state: str,
) -> None:
    job = queue.submit(asked)
    claimed(worker)
    if cancel:
        queue.cancel(job.id)
    hands.pass_by(6)
    Watch(database, hands.clock).take_back("one")
    assert (queue.get(job.id).state, queue.get(job.id).ended) == (state, hands.wall)


def test_events_of_two_attempts_are_told_apart(
    queue: Queue, worker: Worker, database: Database
) -> None:
    job = queue.submit(Asked("{}"))
    worker.tell(claimed(worker), [Told("1"), Told("2")])
    Watch(database).take_back("one")
    worker.tell(claimed(worker), [Told("3")])
    events = queue.story(job.id).events
    assert [(e.number, e.attempt, e.event) for e in events] == [
        (1, 1, "1"),
        (2, 1, "2"),
        (3, 2, "3"),
    ]
