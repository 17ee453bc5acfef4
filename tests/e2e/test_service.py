"""The processes of the service: songs are made, whatever of them is killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import psutil
import pytest
import soundfile
from sqlalchemy import select

from headroom.engine.engine import Engine
from headroom.engine.options import EngineOptions
from headroom.jobs.tables import jobs
from headroom.jobs.values import Claim
from headroom.jobs.worker import Worker
from headroom.params.request import Request
from headroom.runtime.events import Event as Told
from headroom.runtime.events import Progress, Stop
from headroom.service.config import ServiceConfig, from_settings
from headroom.service.lifeline import release, spawn
from headroom.service.maker import Engines, Maker
from headroom.service.places import seats_of
from headroom.service.seat import Seat
from headroom.service.supervisor import Supervisor
from headroom.settings import load
from support import service_parent
from support.ports import free_port
from support.service_clients import Client
from support.service_place import Place, opened

pytestmark = pytest.mark.ci

SONG = {"caption": "slow", "duration": 10, "inference_steps": 1, "seed": 3}
LONG = {"duration": 600, "steps": 100, "overtones": 16}  # seconds of work for the tone family


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with opened(tmp_path) as made:
        yield made


def config_of(place: Place) -> ServiceConfig:
    folder = place.folder
    made = from_settings(load({"HEADROOM_DATA_DIR": str(folder)}))
    return replace(made, database=folder / "jobs.db", storage=folder / "files", free_bytes=0)


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def holder_of(place: Place, job: str) -> str | None:
    with place.database.read() as connection:
        return connection.scalar(select(jobs.c.holder).where(jobs.c.id == job))


@contextmanager
def served(place: Place) -> Iterator[Supervisor]:
    with Supervisor(config_of(place), EngineOptions(device="cpu", threads=1), web=False) as one:
        yield one


def engines(of: psutil.Process | None = None) -> list[psutil.Process]:
    """The engine processes among the children of a process, by default of this one."""
    children = (of or psutil.Process()).children()
    return [one for one in children if "headroom.service.engine_process" in one.cmdline()]


def test_a_song_is_made_while_the_engine_process_is_killed(place: Place) -> None:
    job = place.submit("acestep", **SONG)
    with served(place):
        wait_for(lambda: place.queue.get(job).state == "running")
        first = holder_of(place, job)
        (process,) = engines()
        process.kill()
        wait_for(lambda: place.queue.get(job).has_ended)
        now = place.queue.get(job)
        assert (now.state, now.attempt, now.deaths) == ("done", 2, 1), now.error
        assert first is not None
        (output,) = place.library.of_job(job)
        samples, rate = soundfile.read(io.BytesIO(b"".join(place.files.read(output.file))))
        assert len(samples) == 10 * rate and abs(samples).max() > 0.01
        numbers = [event.number for event in place.queue.story(job).events]
        assert numbers == sorted(set(numbers))
    assert engines() == []


def test_a_running_job_is_cancelled_and_one_at_work_is_given_back(place: Place) -> None:
    first, second = place.submit(**LONG), place.submit(**LONG)
    with served(place):
        wait_for(lambda: place.queue.get(first).state == "running")
        place.queue.cancel(first)
        wait_for(lambda: place.queue.get(first).has_ended)
        assert place.queue.get(first).state == "cancelled"
        wait_for(lambda: place.queue.get(second).state == "running")
    now = place.queue.get(second)
    assert (now.state, now.deaths) == ("queued", 0)


def test_a_second_start_brings_no_second_engine(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.service.child.SEAT_SECONDS", 0.2)
    look, refused = Seat.is_free, []

    def is_free(seat: Seat) -> bool:
        free = look(seat)
        refused.extend([] if free else [1])
        return free

    with served(place):
        wait_for(lambda: not config_seat(place))
        monkeypatch.setattr(Seat, "is_free", is_free)
        with served(place):
            wait_for(lambda: len(refused) >= 3)
            assert len(engines()) == 1
        job = place.submit(duration=0.2)
        wait_for(lambda: place.queue.get(job).has_ended)
        assert place.queue.get(job).state == "done"


def config_seat(place: Place) -> bool:
    start = replace(place.start(), seats=seats_of(config_of(place)))
    return start.seat().is_free()


def test_everything_ends_with_a_supervisor_that_is_killed(place: Place) -> None:
    job = place.submit(**LONG)
    parent = subprocess.Popen([sys.executable, service_parent.__file__, str(place.folder)])
    try:
        wait_for(lambda: place.queue.get(job).state == "running")
        (child,) = engines(psutil.Process(parent.pid))
    finally:
        parent.kill()
        parent.wait()
    child.wait(60)
    now = place.queue.get(job)
    assert (now.state, now.deaths) == ("queued", 0)


def test_a_start_after_a_kill_of_everything_goes_on_at_once(place: Place) -> None:
    job = place.submit(**LONG)
    process = spawn("headroom.service.engine_process", place.start("first"))
    wait_for(lambda: place.queue.get(job).state == "running")
    process.kill()
    process.wait()
    release(process)
    process = spawn("headroom.service.engine_process", place.start("second"))
    try:
        wait_for(lambda: holder_of(place, job) == "second")
        assert place.queue.get(job).deaths == 1
    finally:
        release(process)
        assert process.wait(60) == 0
    assert json.loads(place.queue.get(job).request)["family"] == "tone"


def lives(port: int) -> bool:
    """Whether a service answers at a port of this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=10) as answer:
            return bool(json.load(answer) == {"live": True})
    except OSError:
        return False


def test_a_web_process_that_is_killed_is_started_again(place: Place) -> None:
    port = free_port()
    config = replace(config_of(place), host="127.0.0.1", port=port)
    with Supervisor(config, EngineOptions(device="cpu", threads=1)):
        wait_for(lambda: lives(port))
        children = psutil.Process().children()
        (web,) = (one for one in children if "headroom.service.web_process" in one.cmdline())
        web.kill()
        web.wait(60)
        wait_for(lambda: lives(port))
    assert not lives(port)


def test_a_stream_ends_whole_when_the_service_does(place: Place) -> None:
    port, job = free_port(), place.submit(**LONG)
    config = replace(config_of(place), host="127.0.0.1", port=port)
    with Supervisor(config, EngineOptions(device="cpu", threads=1)):
        wait_for(lambda: lives(port))
        url = f"http://127.0.0.1:{port}/v1/jobs/{job}/events"
        stream = urllib.request.urlopen(url, timeout=60)
        assert stream.readline() == b"retry: 1000\n"
    with stream:
        assert b"event: end" not in stream.read()  # which raises for one that is broken off


def test_a_stream_goes_on_behind_a_restart_and_ends_with_the_song(place: Place) -> None:
    port = free_port()
    config = replace(config_of(place), host="127.0.0.1", port=port)
    line = "tone " + json.dumps({"task": "tone", **LONG, "duration": 30})
    client = Client(port, "client", [line], Event())
    with Supervisor(config, EngineOptions(device="cpu", threads=1)):
        client.start()
        wait_for(lambda: client.events)
        for child in psutil.Process().children():
            if "headroom.service.web_process" in child.cmdline():
                child.kill()
        wait_for(lambda: client.broken)
        wait_for(lambda: not client.is_alive())
    (job,) = client.accepted.values()
    now = place.queue.get(job)
    assert (now.state, now.attempt, client.faults) == ("done", 1, [])
    assert len(client.fetched) == 1 and client.events[-1] == f"{now.told}-end"


def test_a_song_is_cancelled_within_a_step_and_its_bytes_are_given_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = EngineOptions(device="simulated", dtype="float32")
    engines, begun, held = Engines(options, load({})), list[int](), list[int]()
    performed: list[Request] = []
    worker = Worker(place.database, "w")
    one = Maker(worker, place.files, engines, load({}), Event())
    perform, engine = Engine.perform, list[Engine]()

    def watched(
        self: Engine, request: Request, tell: Callable[[Told], None], cancel: Stop
    ) -> object:
        def hear(event: Told) -> None:
            tell(event)
            if isinstance(event, Progress) and event.stage == "denoise":
                begun.append(event.done)
                held.append(engine[0].card.ledger.bytes())
                if len(begun) == 3:
                    place.queue.cancel(second)
                time.sleep(0.3)  # as long as a step on a small card

        engine[:] = [self]
        performed.append(request)
        return perform(self, request, tell if len(performed) == 1 else hear, cancel)

    monkeypatch.setattr(Engine, "perform", watched)
    song = {**SONG, "inference_steps": 8}
    first = place.submit("acestep", **song)
    one.work(claimed(worker))
    card = engine[0].card
    before = card.ledger.bytes(), engine[0].device.memory_allocated()
    assert place.queue.get(first).state == "done"
    second = place.submit("acestep", **song)
    one.work(claimed(worker))
    assert place.queue.get(second).state == "cancelled"
    assert 3 <= len(begun) <= 4 and min(held) > before[0]
    assert (card.ledger.bytes(), engine[0].device.memory_allocated()) == before
    card.ledger.check_integrity()
    engines.close()
    assert engine[0].device.memory_allocated() == card.ledger.bytes() == 0


def claimed(worker: Worker) -> Claim:
    claim = worker.claim()
    assert claim is not None
    return claim


@pytest.mark.skipif(sys.platform == "win32", reason="a console is needed to send Ctrl-C there")
def test_ctrl_c_while_the_processes_start_is_a_quiet_end(place: Place) -> None:
    words = ["serve", "--host", "127.0.0.1", "--port", str(free_port()), "--device", "cpu"]
    parent = psutil.Popen(
        [sys.executable, "-m", "headroom", *words],
        env={**os.environ, "HEADROOM_DATA_DIR": str(place.folder)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for(lambda: len(parent.children()) == 2)
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
        _, said = parent.communicate(timeout=60)
    finally:
        if parent.poll() is None:
            parent.kill()
            parent.wait()
    assert (parent.returncode, said) == (0, b"")


@pytest.mark.parametrize("module", ["uvicorn", "headroom"])
def test_the_lines_that_start_a_service(module: str, place: Place) -> None:
    """Requests are answered, jobs are made, and SIGTERM ends every process."""
    port = free_port()
    words = ["--host", "127.0.0.1", "--port", str(port)]
    lines = {
        "uvicorn": ["acestep.api_server:app", *words, "--workers", "1"],
        "headroom": ["serve", *words, "--device", "cpu"],
    }
    data = {"HEADROOM_DATA_DIR": str(place.folder), "HEADROOM_DEVICE": "cpu"}
    parent = psutil.Popen(
        [sys.executable, "-m", module, *lines[module]], env={**os.environ, **data}
    )
    try:
        wait_for(lambda: lives(port))
        job = place.submit(duration=0.2)
        wait_for(lambda: place.queue.get(job).has_ended)
        assert place.queue.get(job).state == "done"
        children = parent.children()
        assert children
        parent.terminate()
        assert parent.wait(60) in (0, -15)
    finally:
        if parent.poll() is None:
            parent.kill()
            parent.wait()
    assert psutil.wait_procs(children, 30)[1] == []
