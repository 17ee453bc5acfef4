"""Every accepted job ends exactly once, whatever is killed, with a full disk and a clock set back.

Clients submit jobs over HTTP, follow their events and fetch their songs. Every few seconds the web
process, the engine process or the supervisor is killed with -9 and started again; for a while the
disk is full (where a small one can be mounted: Linux, root), and for a while the clock of all
processes is two hours behind. Then: every id ended once, `done` with one whole song or `failed`
with its true reason; no client got two jobs for one request; no file without a row, none half
written; the database is whole. Takes minutes (`--jobs N`, `--postgresql`).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import psutil
import soundfile
from sqlalchemy import func, select, text

from headroom.engine.options import EngineOptions
from headroom.jobs import retention
from headroom.jobs.clock import Clock
from headroom.jobs.database import Database
from headroom.jobs.files import Files
from headroom.jobs.library import Library
from headroom.jobs.queue import Queue
from headroom.jobs.retention import Retention
from headroom.jobs.schema import open_database
from headroom.jobs.tables import files as file_rows
from headroom.jobs.tables import jobs as job_rows
from headroom.jobs.watch import RETRIES
from headroom.log import show
from headroom.service.config import ServiceConfig, from_settings
from headroom.service.supervisor import Supervisor
from headroom.settings import load
from headroom.storage.folder import Folder
from support.disturbances import BACK, Disk, Kill, WallClock, disk
from support.service_clients import Client

REQUESTS = {
    "acestep": {"task": "text2music", "caption": "slow", "duration": 10, "inference_steps": 1},
    "tone": {"task": "tone", "duration": 1, "steps": 1},
}
ENDED = "('done', 'failed', 'cancelled', 'expired')"
# Kept by the database itself, whatever the program believes.
LEDGERS = {
    "sqlite": (
        "CREATE TABLE ledger (job TEXT, state TEXT)",
        f"CREATE TRIGGER ended AFTER UPDATE OF state ON jobs WHEN NEW.state IN {ENDED} "
        "BEGIN INSERT INTO ledger VALUES (NEW.id, NEW.state); END",
    ),
    "postgresql": (
        "CREATE TABLE ledger (job TEXT, state TEXT)",
        "CREATE FUNCTION note() RETURNS trigger AS $$ BEGIN "
        "INSERT INTO ledger VALUES (NEW.id, NEW.state); RETURN NEW; END $$ LANGUAGE plpgsql",
        f"CREATE TRIGGER ended AFTER UPDATE OF state ON jobs FOR EACH ROW "
        f"WHEN (NEW.state IN {ENDED}) EXECUTE FUNCTION note()",
    ),
}
DISK_MEGABYTES = 6000  # of memory, of which only what is written is taken
LAST_MINUTES = 10.0  # that accepted jobs have to end, once nothing is disturbed any more
FULL_SECONDS, BACK_SECONDS = 20.0, 30.0  # how long the disk is full, and the clock behind


@dataclass(frozen=True)
class Place:
    """Where a service is: its folder, its database and its port."""

    folder: Path
    database: str
    port: int

    def config(self) -> ServiceConfig:
        made = from_settings(load({"HEADROOM_DATA_DIR": str(self.folder)}))
        return replace(
            made,
            host="127.0.0.1",
            port=self.port,
            database=self.database,
            storage=self.folder / "files",
            free_bytes=0,
        )

    def words(self) -> list[str]:
        return [str(self.folder), self.database, str(self.port)]


def supervise(place: Place) -> None:
    """The supervisor, until it is killed."""
    show("ERROR")
    with Supervisor(place.config(), EngineOptions(device="cpu", threads=1)):
        threading.Event().wait()


@dataclass
class Service:
    """A supervisor that is started again whenever it is killed."""

    place: Place
    clock: WallClock
    kill: Kill
    killed: Counter[str] = field(default_factory=Counter)
    parent: psutil.Popen | None = None

    @property
    def log(self) -> Path:
        return self.place.folder.parent / "log"

    def start(self) -> None:
        words = [sys.executable, __file__, "--supervise", *self.place.words()]
        with self.log.open("ab") as log:
            self.parent = psutil.Popen(words, env=self.clock.environment, stderr=log)

    def disturb(self) -> None:
        assert self.parent is not None
        self.killed[self.kill(self.parent)] += 1
        if self.parent.poll() is not None:
            self.start()

    def end(self) -> None:
        if self.parent is None:
            return
        for process in (*self.parent.children(recursive=True), self.parent):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.parent.wait()


@dataclass
class Weather:
    """For a while the disk is full and for a while the clock is behind: a third and two thirds of
    the way through."""

    disk: Disk | None
    clock: WallClock
    full: float | None = None
    back: float | None = None
    over: list[str] = field(default_factory=list)

    def blow(self, done: float) -> None:
        now = time.monotonic()
        if self.disk is not None and self.full is None and done >= 1 / 3:
            self.disk.fill()
            self.full = now
        if self.disk is not None and self.full is not None and "full disk" not in self.over:
            if now - self.full >= FULL_SECONDS:
                self.disk.empty()
                self.over.append("full disk")
        if self.back is None and done >= 2 / 3:
            self.clock.set_back(BACK)
            self.back = now
        if self.back is not None and "clock" not in self.over and now - self.back >= BACK_SECONDS:
            self.clock.set_back(0)
            self.over.append("clock")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def placed(postgresql: bool) -> Iterator[tuple[Place, WallClock, Disk | None]]:
    """A place with an empty database that keeps a ledger."""
    with ExitStack() as held:
        temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = Path(held.enter_context(temporary))
        data = folder / "data"
        data.mkdir()
        small = held.enter_context(disk(data, DISK_MEGABYTES))
        where = str(data / "jobs.db")
        if postgresql:
            from support.postgres import server

            where = f"postgresql://postgres@/postgres?host={held.enter_context(server())}"
        database = open_database(where)
        with database.write() as connection:
            for statement in LEDGERS["postgresql" if postgresql else "sqlite"]:
                connection.execute(text(statement))
        database.close()
        yield Place(data, where, free_port()), WallClock(folder), small


def judged(place: Place, accepted: dict[str, str]) -> tuple[Counter[str], list[str]]:
    """How the jobs ended, and what is wrong."""
    database = open_database(place.database)
    faults = ended_once(database, accepted)
    files = Files(database, Folder(place.folder / "files"), floor=0)
    queue, library = Queue(database), Library(database, files)
    states: Counter[str] = Counter()
    for id in accepted.values():
        job, outputs = queue.get(id), library.of_job(id)
        code = json.loads(job.error or "{}").get("code")
        states[job.state if code is None else f"{job.state}: {code}"] += 1
        lost = code == "worker_lost" and job.deaths == RETRIES + 1
        if job.state == "failed" and not (lost or code == "storage_full"):
            faults.append(f"{id}: failed with {job.error}")
        if len(outputs) != (job.state == "done"):
            faults.append(f"{id}: {job.state} with {len(outputs)} outputs")
        for output in outputs:
            samples, rate = soundfile.read(io.BytesIO(b"".join(files.read(output.file))))
            if output.seconds is None or len(samples) != round(output.seconds * rate):
                faults.append(f"{id}: half a song")
    faults += stray(database, files)
    database.close()
    return states, faults


def ended_once(database: Database, accepted: dict[str, str]) -> list[str]:
    """What is wrong with the ledger and the database."""
    faults: list[str] = []
    with database.read() as connection:
        ledger = Counter(connection.scalars(text("SELECT job FROM ledger")))
        there = connection.scalar(select(func.count()).select_from(job_rows))
        whole = connection.scalar(text("PRAGMA integrity_check")) if database.is_sqlite else "ok"
    if whole != "ok":
        faults.append(f"integrity_check: {whole}")
    if there != len(accepted) or len(set(accepted.values())) != len(accepted):
        faults.append(f"{there} jobs for {len(accepted)} requests")
    faults += [f"{job}: lost" for job in accepted.values() if job not in ledger]
    faults += [f"{job}: ended {n} times" for job, n in ledger.items() if n != 1]
    return faults


def stray(database: Database, files: Files) -> list[str]:
    """Files without a row and rows without a file, after sweeping."""
    steady = [0.0]
    sweeper = Retention(database, files, Clock(time.time, lambda: steady[0]))
    for _ in range(2):
        sweeper.sweep()
        steady[0] += retention._LEFT_SECONDS
    with database.read() as connection:
        named = set(connection.scalars(select(file_rows.c.blob)))
    stored = {one.key for one in files.storage.stored()}
    faults = [f"{key}: no row" for key in stored - named]
    return faults + [f"{key}: no bytes" for key in named - stored]


def run(
    service: Service,
    clients: list[Client],
    weather: Weather,
    every: float,
    jobs: int,
    minutes: float,
    over: threading.Event,
) -> None:
    """Disturb the service until the last client is done or time is up."""
    rng = service.kill.rng
    service.start()
    for client in clients:
        client.start()
    began = time.monotonic()
    due = began + every
    while any(client.is_alive() for client in clients) and not over.is_set():
        accepted = sum(len(client.accepted) for client in clients)
        weather.blow(max(accepted / jobs, (time.monotonic() - began) / (60 * minutes)))
        if time.monotonic() >= due and not clients[0].enough.is_set():
            service.disturb()
            due = time.monotonic() + rng.uniform(0.5, 1.5) * every
        over.wait(0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=50, help="at most")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--every", type=float, default=6.0, help="mean seconds between kills")
    parser.add_argument("--family", choices=sorted(REQUESTS), default="acestep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="after which no more is submitted or killed"
    )
    parser.add_argument("--supervise", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.supervise is not None:
        folder, database, port = args.supervise
        supervise(Place(Path(folder), database, int(port)))
        return 0
    enough, over = threading.Event(), threading.Event()
    for minutes, event in ((args.minutes, enough), (args.minutes + LAST_MINUTES, over)):
        timer = threading.Timer(60 * minutes, event.set)
        timer.daemon = True
        timer.start()
    began = time.monotonic()
    with placed(args.postgresql) as (place, clock, small):
        clients = []
        for n in range(args.clients):
            share = range(n, args.jobs, args.clients)
            wanted = [{**REQUESTS[args.family], "seed": number} for number in share]
            lines = [f"{args.family} {json.dumps(one)}" for one in wanted]
            clients.append(Client(place.port, f"client{n}", lines, over, enough))
        service = Service(place, clock, Kill(random.Random(args.seed)))
        weather = Weather(small, clock)
        try:
            run(service, clients, weather, args.every, args.jobs, args.minutes, over)
        finally:
            over.set()
            service.end()
            if small is not None:
                small.empty()
        seconds = time.monotonic() - began
        accepted = {k: job for client in clients for k, job in client.accepted.items()}
        states, faults = judged(place, accepted)
        log = service.log.read_text("utf-8", "replace").splitlines()
    faults += [fault for client in clients for fault in client.faults]
    crashes = [line for line in log if line.startswith("Traceback")]
    faults += [f"{len(crashes)} tracebacks in the log"] if crashes else []
    short = len(accepted) < args.jobs and not enough.is_set()
    faults += [f"{len(accepted)} jobs were accepted"] if short or not accepted else []
    for line in (*faults, *(log[-50:] if faults else ())):
        print(line)
    told = {
        "jobs": len(accepted), "clients": args.clients, "family": args.family,
        "database": "postgresql" if args.postgresql else "sqlite", "seconds": round(seconds),
        "states": dict(states), "killed": dict(service.killed), "meanwhile": weather.over,
        "refusals": sum(client.refusals for client in clients),
        "broken_connections": sum(client.broken for client in clients),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None, "faults": len(faults),
    }  # fmt: skip
    print(json.dumps(told))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
