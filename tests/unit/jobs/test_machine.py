"""Jobs under workers that die at any moment and clocks that jump, compared with a simple model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from headroom.errors import ClaimLost, QueueFull
from headroom.jobs.database import Database, connect
from headroom.jobs.queue import Queue
from headroom.jobs.tables import ENDED
from headroom.jobs.values import Asked, Claim, Told
from headroom.jobs.watch import RETRIES, Watch
from headroom.jobs.worker import Worker
from support.clock import Hands
from support.databases import Server, hurried

KEYS, HOLDERS, PATIENCE, MOST = "abc", ("one", "two"), 30.0, 8


@dataclass
class Model:
    """A job as it should be."""

    number: int
    key: str
    priority: int
    deadline: float | None
    state: str = "queued"
    attempt: int = 0
    holder: str = ""
    deaths: int = 0
    stop: bool = False
    told: list[tuple[int, int]] = field(default_factory=list)  # attempt and number
    endings: int = 0

    def end(self, state: str) -> None:
        assert self.state in ("queued", "running")
        self.state, self.endings = state, self.endings + 1


class Jobs(RuleBasedStateMachine):
    """Every job ends once; only the holder changes it; keys take turns; nothing else is taken for
    dead than what stood still for the whole patience of an observer."""

    claims = Bundle("claims")
    fresh: Callable[[], Database]

    def __init__(self) -> None:
        super().__init__()
        self.hands = Hands()
        self.database = type(self).fresh()
        self.queue = Queue(self.database, self.hands.clock, most=MOST)
        self.watches = [Watch(self.database, self.hands.clock, PATIENCE) for _ in range(2)]
        self.jobs: dict[str, Model] = {}
        self.served: dict[str, int] = {}
        self.made: list[Claim] = []
        self.alive: dict[tuple[str, int], float] = {}  # last beat of each attempt, steady clock

    @initialize()
    def watch(self) -> None:
        for watch in self.watches:
            watch.look()

    @rule(
        key=st.sampled_from(KEYS),
        priority=st.sampled_from([0, 0, 0, 1]),
        within=st.sampled_from([None, None, None, 40.0]),
    )
    def submit(self, key: str, priority: int, within: float | None) -> None:
        asked = Asked("{}", key, priority=priority, within=within)
        if sum(job.state == "queued" for job in self.jobs.values()) >= MOST:
            with pytest.raises(QueueFull):
                self.queue.submit(asked)
            return
        job = self.queue.submit(asked)
        self.jobs[job.id] = Model(len(self.jobs), key, priority, job.deadline)

    @rule(target=claims, holder=st.sampled_from(HOLDERS))
    def claim(self, holder: str) -> Claim | MultipleResults[Claim]:
        claim = self._claim(holder)
        return multiple() if claim is None else claim

    def _claim(self, holder: str) -> Claim | None:
        self._expire_waiting()
        expected = self._next()
        claim = Worker(self.database, holder, self.hands.clock).claim()
        if expected is None:
            assert claim is None
            return None
        assert claim is not None and claim.job == expected
        job = self.jobs[claim.job]
        job.state, job.attempt, job.holder = "running", job.attempt + 1, holder
        assert claim.attempt == job.attempt
        if job.attempt == 1:
            self.served[job.key] = max(self.served.values(), default=0) + 1
        self.alive[claim.job, claim.attempt] = self.hands.steady
        self.made.append(claim)
        return claim

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        """By the holder, or by a former one that does not know it yet."""
        order = self._worker(claim).beat(claim)
        job = self.jobs[claim.job]
        if not self._holds(claim):
            assert order == "lost"
            return
        self.alive[claim.job, claim.attempt] = self.hands.steady
        late = job.deadline is not None and job.deadline <= self.hands.wall
        assert order == ("cancel" if job.stop else "expire" if late else "go")

    @rule(claim=claims, count=st.integers(1, 3))
    def tell(self, claim: Claim, count: int) -> None:
        told = [Told("{}", passing=n == 2) for n in range(count)]
        if not self._holds(claim):
            with pytest.raises(ClaimLost):
                self._worker(claim).tell(claim, told)
            return
        last = self._worker(claim).tell(claim, told)
        job = self.jobs[claim.job]
        start = len(job.told)
        job.told += [(claim.attempt, start + n + 1) for n in range(count)]
        assert last == len(job.told)

    @rule(claim=consumes(claims), how=st.sampled_from(["done", "failed", "stopped", "queued"]))
    def end(self, claim: Claim, how: str) -> None:
        worker, job = self._worker(claim), self.jobs[claim.job]
        act = {
            "done": lambda: worker.finish(claim),
            "failed": lambda: worker.fail(claim, "{}"),
            "stopped": lambda: worker.stopped(claim),
            "queued": lambda: worker.give_back(claim),
        }[how]
        if not self._holds(claim):
            with pytest.raises(ClaimLost):
                act()
            return
        act()
        late = job.deadline is not None and job.deadline <= self.hands.wall
        if how == "queued":
            if job.stop or late:
                job.end("cancelled" if job.stop else "expired")
            else:
                job.state = "queued"
        elif how == "stopped":
            job.end("cancelled" if job.stop else "expired")
        else:
            job.end(how)

    @rule()
    def former_holders_act(self) -> None:
        """Those that do not know yet that they were taken for dead, or that they have ended it."""
        for claim in [claim for claim in self.made if not self._holds(claim)][-5:]:
            worker = self._worker(claim)
            assert worker.beat(claim) == "lost"
            for act in (worker.finish, worker.stopped, worker.give_back):
                with pytest.raises(ClaimLost):
                    act(claim)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if not self.jobs:
            return
        id = data.draw(st.sampled_from(sorted(self.jobs, key=lambda id: self.jobs[id].number)))
        self.queue.cancel(id)
        job = self.jobs[id]
        if job.state == "queued":
            job.end("cancelled")
        elif job.state == "running":
            job.stop = True

    @rule(seconds=st.sampled_from([1.0, 8.0, 8.0, 20.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.hands.pass_by(seconds)

    @rule(wall=st.sampled_from([0.0, 1e9, 1e9 + 30.0, 4e9]))
    def the_wall_clock_is_set(self, wall: float) -> None:
        self.hands.wall = wall

    @rule(which=st.integers(0, 1))
    def look(self, which: int) -> None:
        for id in self.watches[which].look():
            key = (id, self.jobs[id].attempt)
            assert self.hands.steady - self.alive[key] >= PATIENCE, "it was alive"
            self._died(id)

    @rule(holder=st.sampled_from(HOLDERS))
    def the_process_ends(self, holder: str) -> None:
        held = [
            id for id, job in self.jobs.items() if job.state == "running" and job.holder == holder
        ]
        assert sorted(self.watches[0].take_back(holder)) == sorted(held)
        for id in held:
            self._died(id)

    @invariant()
    def the_database_is_as_the_model(self) -> None:
        jobs = self.queue.page(most=1000).jobs
        assert [job.id for job in reversed(jobs)] == list(self.jobs)
        for job in jobs:
            model = self.jobs[job.id]
            assert (job.state, job.attempt) == (model.state, model.attempt)
            assert job.deaths == model.deaths
            assert job.told == len(model.told) and job.deaths <= RETRIES + 1
            assert model.endings == (1 if job.state in ENDED else 0)

    def teardown(self) -> None:
        """Whoever is left finishes everything."""
        try:
            self.hands.wall = 1e9
            for watch in self.watches[:1]:
                for _ in range(5):
                    self.hands.steady += PATIENCE / 3
                    for id in watch.look():
                        self._died(id)
            assert not any(job.state == "running" for job in self.jobs.values())
            while (claim := self._claim("last")) is not None:
                self.end(claim, "done")
            assert all(job.endings == 1 for job in self.jobs.values())
            for id, model in self.jobs.items():
                events = self.queue.story(id, most=1000).events
                seen = [(event.attempt, event.number) for event in events]
                assert seen == sorted(seen, key=lambda pair: pair[1])
                assert set(seen) <= set(model.told)
        finally:
            self.database.close()

    def _worker(self, claim: Claim) -> Worker:
        return Worker(self.database, claim.holder, self.hands.clock)

    def _holds(self, claim: Claim) -> bool:
        job = self.jobs[claim.job]
        return job.state == "running" and job.attempt == claim.attempt

    def _expire_waiting(self) -> None:
        for job in self.jobs.values():
            late = job.deadline is not None and job.deadline <= self.hands.wall
            if job.state == "queued" and late:
                job.end("expired")

    def _next(self) -> str | None:
        """The waiting job whose turn it is."""

        def turn(id: str) -> tuple[int, bool, int, int]:
            job = self.jobs[id]
            return -job.priority, job.attempt == 0, self.served.get(job.key, 0), job.number

        waiting = [id for id, job in self.jobs.items() if job.state == "queued"]
        return min(waiting, key=turn, default=None)

    def _died(self, id: str) -> None:
        job = self.jobs[id]
        late = job.deadline is not None and job.deadline <= self.hands.wall
        job.deaths += 1
        if job.stop or late or job.deaths > RETRIES:
            job.end("cancelled" if job.stop else "expired" if late else "failed")
        else:
            job.state = "queued"


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Jobs, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


@pytest.fixture
def on_sqlite(sqlite_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jobs, "fresh", staticmethod(hurried(sqlite_model, tmp_path)), raising=False)


@pytest.mark.ci
@pytest.mark.usefixtures("on_sqlite")
def test_every_job_ends_once_whatever_dies() -> None:
    run(25, 40)


@pytest.mark.slow
@pytest.mark.usefixtures("on_sqlite")
def test_every_job_ends_once_whatever_dies_in_many_more_ways() -> None:
    run(1500, 80)


@pytest.mark.database
@pytest.mark.long
def test_every_job_ends_once_on_postgresql(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = staticmethod(lambda: connect(postgres_server.fresh()))
    monkeypatch.setattr(Jobs, "fresh", fresh, raising=False)
    run(15, 40)
