"""The service on a cluster of two machines: jobs are made, whatever of it is killed.

Each machine is a Ray node of its own with its processes, all of them on this computer; the jobs are
in a PostgreSQL server, the songs in an S3 server.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import soundfile
from sqlalchemy import select, text

from headroom.jobs.database import Database
from headroom.jobs.keys import Keys
from headroom.jobs.tables import jobs
from support import postgres
from support.databases import Server, opened
from support.needed import require_packages
from support.ports import free_port
from support.web import wav

pytestmark = [pytest.mark.cluster, pytest.mark.long]

SONGS = 20
SONG = {"duration": 60, "steps": 60, "overtones": 16}  # a second of work for the tone family
# Kept by the database itself, whatever the program believes.
LEDGER = (
    "CREATE TABLE ledger (job TEXT, state TEXT)",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN INSERT INTO ledger VALUES (NEW.id, NEW.state); RETURN NULL; END$$",
    "CREATE TRIGGER ended AFTER UPDATE OF state ON jobs FOR EACH ROW "
    "WHEN (NEW.state NOT IN ('queued', 'running')) EXECUTE FUNCTION note()",
)


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server with the bucket `songs`; its address. The variables are for the nodes too."""
    require_packages("ray", "moto")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    httpx2.put(f"{url}/songs").raise_for_status()
    yield url
    server.stop()


@pytest.fixture
def database_url() -> Iterator[str]:
    with postgres.server() as socket:
        server = Server(socket)
        yield server.fresh()
        server.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    yield from opened(database_url)


@pytest.fixture
def cluster(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes, whose processes find the bucket."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 << 20}
    made = Cluster(
        initialize_head=True,
        head_node_args={**node, "include_dashboard": False},
    )
    made.add_node(**node)
    yield made
    made.shutdown()


@contextmanager
def served(cluster: Any, database: str, folder: Path, *more: str) -> Iterator[int]:
    """`acestep serve --cluster`; the port, once it answers."""
    port = free_port()
    words = [
        "--cluster", cluster.address, "--database", database, "--storage", "s3://songs/made",
        "--port", str(port), "--device", "cpu", "--threads", "1", *more,
    ]  # fmt: skip
    command = [sys.executable, "-m", "headroom", "serve", *words]
    program = subprocess.Popen(command, env={**os.environ, "HEADROOM_DATA_DIR": str(folder)})
    try:
        wait_for(lambda: lives(port))
        yield port
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 0
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()


def lives(port: int) -> bool:
    with suppress(httpx2.HTTPError):
        answer = httpx2.get(f"http://127.0.0.1:{port}/health/live")
        return answer.status_code == 200
    return False


def states(database: Database) -> Counter[str]:
    with database.read() as connection:
        return Counter(connection.scalars(select(jobs.c.state)))


def holders(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.scalars(select(jobs.c.holder).where(jobs.c.state == "running")))


def processes_of(node: Any) -> list[psutil.Process]:
    """Every process of a node: its own, and those of the replicas on it."""
    own = [psutil.Process(one.process.pid) for kind in node.all_processes.values() for one in kind]
    return own + [child for one in own for child in one.children(recursive=True)]


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, 10)


@dataclass(frozen=True)
class Caller:
    """Who calls the service at a port of this machine, with a key."""

    port: int
    secret: str

    def client(self) -> httpx2.Client:
        headers = {"X-API-Key": self.secret}
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60)

    def submit(self, songs: int) -> list[str]:
        ids = []
        with self.client() as client:
            for seed in range(songs):
                body = {**SONG, "seed": seed}
                answer = client.post("/v1/jobs", params={"family": "tone"}, json=body)
                assert answer.status_code == 202, answer.text
                ids.append(answer.json()["id"])
        return ids


def test_twenty_songs_while_a_machine_and_an_engine_are_killed(
    cluster: Any, database_url: str, database: Database, tmp_path: Path
) -> None:
    with database.write() as connection:
        for statement in LEDGER:
            connection.execute(text(statement))
    _, secret = Keys(database).create("test", ("use", "admin"))
    with served(cluster, database_url, tmp_path) as port:
        caller = Caller(port, secret)
        ids = caller.submit(SONGS)
        wait_for(lambda: len(holders(database)) == 2 and states(database)["done"] >= 3)
        (other,) = cluster.worker_nodes
        (engine,) = (one for one in processes_of(cluster.head_node) if "engines" in one.name())
        kill([engine, *processes_of(other)])
        wait_for(lambda: states(database)["done"] == SONGS)
        with caller.client() as client:
            for id in ids:
                view = client.get(f"/v1/jobs/{id}").json()
                assert (view["state"], len(view["outputs"])) == ("done", 1), view
                sound = client.get(f"/v1/jobs/{id}/outputs/1").content
                samples, rate = soundfile.read(io.BytesIO(sound))
                assert len(samples) == 60 * rate and abs(samples).max() > 0.01
    with database.read() as connection:
        ledger = Counter(map(tuple, connection.execute(text("SELECT job, state FROM ledger"))))
        attempts = list(connection.scalars(select(jobs.c.attempt)))
    assert ledger == {(id, "done"): 1 for id in ids}
    assert max(attempts) == 2


@pytest.mark.slow
def test_engines_are_started_while_jobs_wait_and_the_door_is_whole(
    cluster: Any, database_url: str, database: Database, tmp_path: Path
) -> None:
    _, secret = Keys(database).create("test", ("use", "admin"))
    with served(cluster, database_url, tmp_path, "--engines", "1-2") as port:
        caller = Caller(port, secret)
        with caller.client() as client:
            assert httpx2.get(f"http://127.0.0.1:{port}/v1/jobs").status_code == 401
            assert "(cpu)" in client.get("/health/ready").json()["machine"]
            sound = wav(200)  # 3 MB: in several pieces on its way through the proxy
            sent = client.post("/v1/files", content=sound, headers={"Content-Type": "audio/wav"})
            assert (sent.status_code, sent.json()["size"]) == (201, len(sound)), sent.text
            (first,) = caller.submit(1)
            events = client.get(f"/v1/jobs/{first}/events").text
            assert "event: end" in events and '"state": "done"' in events
            caller.submit(150)
            wait_for(lambda: len(holders(database)) == 2)
            assert states(database)["queued"] > 0
