"""Processes that share a simulated card, started and judged from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from headroom.device.shared import SharedDevice
from headroom.runtime.arbiter.account import Card
from headroom.runtime.arbiter.arbiter import Arbiter
from headroom.runtime.arbiter.folder import Account, place_of
from support.shared_work import NAME, Task

TESTS = Path(__file__).resolve().parents[1]
STUCK = 1800.0  # seconds for all requests of a run

Row = dict[str, Any]


class Worker:
    """A process with a task, ready to begin."""

    def __init__(self, task: Task, module: str = "support.shared_work") -> None:
        path = [TESTS.parent / "src", TESTS.parent / "examples", TESTS]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(asdict(task))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def next(self) -> Row:
        """Its next line. Raises AssertionError where it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"a process ended with {self.process.wait()}"
        told: Row = json.loads(line)
        return told

    def go(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """End it, however far it is."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def working(tasks: Sequence[Task], module: str = "support.shared_work") -> Iterator[list[Worker]]:
    """Processes that are ready."""
    workers: list[Worker] = []
    try:
        workers += [Worker(task, module) for task in tasks]
        for worker in workers:
            assert worker.next() == {"ready": True}
        yield workers
    finally:
        for worker in workers:
            worker.end()


def requests(tasks: Sequence[Task]) -> list[Row]:
    """What became of each request of processes that work at the same time."""
    rows: list[Row] = []

    def listen(number: int, worker: Worker) -> None:
        worker.go()
        for _ in range(tasks[number].requests):
            rows.append({**worker.next(), "process": number})

    with working(tasks) as workers:
        threads = [threading.Thread(target=listen, args=pair) for pair in enumerate(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(STUCK)
    assert len(rows) == sum(task.requests for task in tasks), f"{len(rows)} requests ended"
    return sorted(rows, key=lambda row: float(row["started"]))


def quantile(values: Sequence[float], share: float) -> float:
    """Of values, in the order of their size."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


@dataclass(frozen=True, slots=True)
class Fairness:
    """The longest wait: in works of others that began meanwhile, and in time, as multiples of the
    fair share, one work of each other process."""

    works: float
    time: float


def fairness(rows: Sequence[Row]) -> Fairness:
    """Of all requests of a run."""
    others = max(1, len({row["process"] for row in rows}) - 1)
    longest = max(row["ended"] - row["started"] for row in rows)
    works = 0
    for row in rows:
        asked = row["started"] - row["waiting"]
        between = [
            one for one in rows
            if one["process"] != row["process"] and asked < one["started"] < row["started"]
        ]  # fmt: skip
        works = max(works, len(between))
    waited = max(row["waiting"] for row in rows)
    return Fairness(works / others, waited / (others * longest))


def watcher(task: Task) -> tuple[Arbiter, SharedDevice]:
    """Another member of the account, in this process, with nothing on the card."""
    device = SharedDevice(NAME, Path(task.folder), task.total, fake=True)
    place = place_of(Path(task.folder), str(device.identity))
    measure = lambda: Card(device.total_memory(), device.free_memory())  # noqa: E731
    return Arbiter(Account(place), measure, lambda wanted: None), device


def reclaimed(task: Task) -> float:
    """Seconds from the death of a process that holds nearly all of the card until another, which
    waits, has it."""
    granted: list[float] = []
    arbiter, _ = watcher(task)

    def wait() -> None:
        arbiter.lease(task.total // 2)
        granted.append(time.monotonic())

    with working([replace(task, hold=True)]) as (victim,):
        victim.go()
        while not any(other.leased for other in arbiter.others()):
            time.sleep(0.01)
        thread = threading.Thread(target=wait)
        thread.start()
        while not arbiter.me.need:
            time.sleep(0.01)
        os.kill(victim.process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        died = time.monotonic()
        thread.join()
    arbiter.close()
    return granted[0] - died
