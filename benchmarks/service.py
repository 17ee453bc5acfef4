"""Polls of a running job beside listeners and a song that renders, against an idle server.

    python benchmarks/service.py [--listeners 200] [--polls 10000] [--connections 4] [--save]

The web process is the one of `acestep serve`; polls are GET /v1/jobs/{id} over connections that
stay open, each one sent when the one before was answered. Idle: no engine process, no listener,
and a job that is claimed and at rest. Busy: an engine process renders tones on one thread, and
every listener follows that job. Wall times include what other programs take of the machine; the
processor seconds of the web process do not, so both are told. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from common import finish

from headroom.engine.options import EngineOptions
from headroom.jobs.queue import Queue
from headroom.jobs.schema import open_database
from headroom.jobs.values import Asked
from headroom.jobs.worker import Worker
from headroom.service.config import ServiceConfig, from_settings
from headroom.service.lifeline import release, spawn
from headroom.service.start import EngineStart
from headroom.settings import load

SONG = {
    "family": "tone",
    "request": {"task": "tone", "duration": 600, "steps": 100, "overtones": 16},
}
QUIET_SECONDS = 5.0  # in which the listeners alone are measured
EXAMPLES = Path(__file__).parents[1] / "examples"


def config_in(folder: Path) -> ServiceConfig:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    made = from_settings(load({"HEADROOM_DATA_DIR": str(folder)}))
    return replace(made, host="127.0.0.1", port=port, database=folder / "jobs.db", free_bytes=0)


@contextmanager
def child(module: str, start: object) -> Iterator[psutil.Process]:
    """A process of the service."""
    process: subprocess.Popen[bytes] = spawn(f"headroom.service.{module}", start)
    try:
        yield psutil.Process(process.pid)
    finally:
        release(process)
        process.wait(60)


def renders(config: ServiceConfig, folder: Path) -> EngineStart:
    return EngineStart(
        database=config.database, storage=config.storage, staging=config.staging, free_bytes=0,
        holder="benchmark", cards=("cpu",), seats=folder,
        options=EngineOptions(device="cpu", threads=1), settings=config.settings,
    )  # fmt: skip


def request(path: str, port: int) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


async def answering(port: int) -> None:
    """Wait until the web process answers."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def poll(port: int, path: str, times: int, taken: list[float]) -> None:
    """Ask `times` times over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = request(path, port)
    for _ in range(times):
        began = time.perf_counter()
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        await reader.readexactly(int(lines[b"content-length"]))
        taken.append(time.perf_counter() - began)
        assert head.startswith(b"HTTP/1.1 200"), head
    writer.close()


async def listen(port: int, path: str, heard: list[int]) -> None:
    """Follow a job until the stream ends, or the task is cancelled."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(path, port))
        while data := await reader.read(1 << 16):
            heard[0] += data.count(b"event: ")
    finally:
        writer.close()


def spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def polls(
    process: psutil.Process, port: int, path: str, times: int, many: int
) -> dict[str, float]:
    """Wall milliseconds of polls, and processor milliseconds of one."""
    taken: list[float] = []
    before, began = spent(process), time.perf_counter()
    await asyncio.gather(*(poll(port, path, times // many, taken) for _ in range(many)))
    wall, cpu = time.perf_counter() - began, spent(process) - before
    cuts = statistics.quantiles(taken, n=100)
    return {
        "polls": len(taken),
        "p50_ms": round(1e3 * cuts[49], 3), "p99_ms": round(1e3 * cuts[98], 3),
        "cpu_ms": round(1e3 * cpu / len(taken), 3),
        "wall_s": round(wall, 2), "cpu_s": round(cpu, 2),
    }  # fmt: skip


async def measured(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Both servers, one after the other, each with a database of its own."""
    config = config_in(folder)
    assert config.port is not None
    database = open_database(config.database)
    queue = Queue(database)
    path = f"/v1/jobs/{queue.submit(Asked(json.dumps(SONG))).id}"
    Worker(database, "at rest").claim()
    with child("web_process", config) as web:
        await answering(config.port)
        await polls(web, config.port, path, 200, args.connections)
        fresh = web.memory_info().rss
        idle = await polls(web, config.port, path, args.polls, args.connections)
        song = queue.submit(Asked(json.dumps(SONG))).id
        path, heard = f"/v1/jobs/{song}", [0]
        with child("engine_process", renders(config, folder)):
            while queue.get(song).state != "running":
                await asyncio.sleep(0.1)
            for _ in range(20):  # more songs than are needed
                queue.submit(Asked(json.dumps(SONG)))
            following = [
                asyncio.create_task(listen(config.port, f"{path}/events", heard))
                for _ in range(args.listeners)
            ]
            await asyncio.sleep(1.0)
            before = spent(web)
            await asyncio.sleep(QUIET_SECONDS)
            quiet = (spent(web) - before) / QUIET_SECONDS
            busy = await polls(web, config.port, path, args.polls, args.connections)
            alive = sum(not task.done() for task in following)
            memory = web.memory_info().rss
            for task in following:
                task.cancel()
            still = queue.get(song).state
    database.close()
    own = busy["cpu_s"] - quiet * busy["wall_s"]
    return {
        "idle": idle, "busy": busy, "ratio_p50": round(busy["p50_ms"] / idle["p50_ms"], 2),
        "ratio_p99": round(busy["p99_ms"] / idle["p99_ms"], 2), "listeners": alive,
        "cpu_share_of_listeners": round(quiet, 3), "events_heard": heard[0], "song": still,
        "busy_cpu_ms_without_listeners": round(1e3 * own / busy["polls"], 3),
        "memory_mb": {"fresh": round(fresh / 1e6, 1), "busy": round(memory / 1e6, 1)},
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--polls", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(EXAMPLES), os.environ.get("PYTHONPATH")))
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        finish("service", asyncio.run(measured(args, Path(folder))), args.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
