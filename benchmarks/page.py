"""People at the page while songs render: how soon it answers, and its memory over many songs.

    python benchmarks/page.py [--people 20] [--rounds 6] [--songs 500] [--save]

The service is the one of `acestep ui`, with the bundled model, in processes of its own. One visit
is made in the system's Chromium and its traffic recorded: opening the page, a sentence, the plan,
a song from the button, the tab of songs. The traffic is then replayed, at the times at which the
browser sent it, by one person (nothing renders), and by `--people`, who arrive over a minute and
use the page `--rounds` times, while a long song and those that they ask for render. A visit in the
browser takes place among them, whose console must stay empty. An answer is whole when its last
byte is there. Streams that last are not timed. Afterwards `--songs` short songs of the example
family are made while a page is open, and the memory of the web process is read along the way;
`--people 0` makes only these. Times include what browser and people take of the machine; the
processor seconds of the web process do not. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil
from common import finish

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.browser import browser, why_not

SOON = 120_000  # milliseconds
ARRIVING = 60.0  # seconds over which people arrive
CONNECTIONS = 6  # of a browser to one host
LONG = {"task": "text2music", "caption": "a long song", "duration": 240, "seed": 1}
SHORT = {"task": "tone", "duration": 1}  # of the example family, made in milliseconds
EXAMPLES = Path(__file__).parents[1] / "examples"
EVENT = "/ui/gradio_api/run/predict"
LASTING = re.compile(r"/events|/heartbeat|/preview")
HEADERS = ("accept", "content-type", "origin", "range", "sec-fetch-site", "x-headroom-token")
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of the browser, `at` seconds after the first one."""

    at: float
    method: str
    path: str
    body: str | None
    headers: dict[str, str]
    using: bool = False  # sent by somebody who types and presses, not by a page that opens
    makes: bool = False  # a song

    @property
    def kind(self) -> str:
        """file, event of Gradio, or answer of the service."""
        if self.path.startswith(EVENT):
            return "event"
        return "answer" if self.path.startswith("/v1/") else "file"


@dataclass(slots=True)
class Taken:
    """Seconds until answers were whole, by part and kind, and what went wrong."""

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def figures(self) -> Figures:
        """Of opening and of using the page, all together and by kind."""
        made: Figures = {}
        for part in ("opening", "using"):
            kinds = {kind: taken for (of, kind), taken in self.seconds.items() if of == part}
            named = {"all": [one for taken in kinds.values() for one in taken], **kinds}
            made[part] = {name: _quantiles(taken) for name, taken in named.items()}
        return made


def _quantiles(seconds: list[float]) -> Figures:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {
        "answers": len(seconds), "p50_ms": round(1e3 * cuts[49], 1),
        "p95_ms": round(1e3 * cuts[94], 1), "p99_ms": round(1e3 * cuts[98], 1),
    }  # fmt: skip


@dataclass(slots=True)
class Person:
    """Who sends the traffic of a visit again, with a session of their own."""

    url: str
    visit: list[Sent]
    session: str
    rounds: int
    taken: Taken

    async def come(self) -> None:
        old = _session(self.visit)
        limits = httpx2.Limits(max_connections=CONNECTIONS)
        async with httpx2.AsyncClient(base_url=self.url, limits=limits, timeout=120) as http:
            parts = [[one for one in self.visit if one.using is using] for using in (False, True)]
            for part in (parts[0], *[parts[1]] * self.rounds):
                began = time.perf_counter() - part[0].at
                waits = (self._send(http, one, old, began) for one in part)
                await asyncio.gather(*waits)

    async def _send(self, http: httpx2.AsyncClient, one: Sent, old: str, began: float) -> None:
        await asyncio.sleep(max(0.0, began + one.at - time.perf_counter()))
        body = None if one.body is None else one.body.replace(old, self.session)
        start = time.perf_counter()
        answer = await http.request(
            one.method, one.path, content=body, headers=one.headers, follow_redirects=False
        )
        if answer.status_code >= 400:
            self.taken.wrong.append(f"{one.method} {one.path}: {answer.status_code}")
            return
        part = "using" if one.using else "opening"
        taken = self.taken.seconds.setdefault((part, one.kind), [])
        taken.append(time.perf_counter() - start)


def _session(visit: list[Sent]) -> str:
    bodies = (one.body for one in visit if one.kind == "event" and one.body)
    return str(json.loads(next(bodies))["session_hash"])


def visited(url: str) -> tuple[list[Sent], list[str]]:
    """The traffic of a visit in a browser of its own, and what its console complained of."""
    sent: list[Sent] = []
    complaints: list[str] = []
    using = pressed = False
    with browser() as opened:
        page = opened.new_page()
        page.set_default_timeout(SOON)
        began = time.perf_counter()

        def record(one: Any) -> None:
            headers = {name: text for name, text in one.headers.items() if name in HEADERS}
            at = time.perf_counter() - began
            path = one.url.removeprefix(url)
            makes = pressed and path.startswith(EVENT) and not any(other.makes for other in sent)
            if path.startswith("/"):
                sent.append(Sent(at, one.method, path, one.post_data, headers, using, makes))

        page.on("request", record)
        page.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.locator(".outlook").wait_for()
        page.wait_for_timeout(2000)  # who reads
        using = True
        page.locator("#field-caption textarea").press_sequentially("a slow song", delay=60)
        page.wait_for_timeout(1500)
        pressed = True
        page.locator("#go").click()
        page.locator("headroom-jobs .job").first.wait_for()
        page.wait_for_timeout(1500)
        page.locator("#tab-songs-button").click()
        page.locator("headroom-library").wait_for()
        page.wait_for_timeout(1500)
    return sent, complaints


async def people(url: str, visit: list[Sent], many: int, rounds: int) -> Taken:
    """`many` at once, each of whom opens the page and uses it `rounds` times."""
    visit = [one for one in visit if not LASTING.search(one.path)]
    taken, draw = Taken(), random.Random(0)

    async def one(number: int) -> None:
        await asyncio.sleep(draw.uniform(0, ARRIVING if many > 1 else 0))
        await Person(url, visit, f"person{number}", rounds, taken).come()

    await asyncio.gather(*(one(number) for number in range(many)))
    return taken


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The page of this checkout, as users start it, and its web process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    places = {"HEADROOM_DATA_DIR": str(folder), "HEADROOM_CACHE_DIR": str(folder / "cache")}
    paths = os.pathsep.join(filter(None, (str(EXAMPLES), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "headroom", "ui", "--port", str(port), "--device", "cpu"]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [*command, "--threads", "1"],
            env={**os.environ, **places, "PYTHONPATH": paths},
            cwd=folder,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url):
            assert process.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.2)
        children = psutil.Process(process.pid).children(recursive=True)
        yield url, next(one for one in children if "web_process" in " ".join(one.cmdline()))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def made(url: str, songs: int, web: psutil.Process) -> Figures:
    """Make short songs while a page is open; the memory of the web process along the way, MB."""
    memory: dict[int, float] = {}
    with browser() as opened, httpx2.Client(base_url=url, timeout=60) as http:
        page = opened.new_page()
        page.goto(url)
        page.locator(".outlook").wait_for(timeout=SOON)
        for number in range(songs + 1):
            if number % max(1, songs // 10) == 0:
                memory[number] = round(web.memory_info().rss / 1e6, 1)
            if number == songs:
                break
            body = {**SHORT, "seed": number}
            answer = http.post("/v1/jobs", json=body, params={"family": "tone"})
            id = answer.raise_for_status().json()["id"]
            while http.get(f"/v1/jobs/{id}").json()["state"] in ("queued", "running"):
                time.sleep(0.05)
    return {"songs": songs, "memory_mb": memory}


def measured(args: argparse.Namespace, folder: Path) -> Figures:
    with service(folder) as (url, web):
        if not args.people:
            return {"many_songs": made(url, args.songs, web), "load": _load()}
        visit, complaints = visited(url)
        idle = asyncio.run(people(url, [one for one in visit if not one.makes], 1, 3))
        fresh, before = web.memory_info().rss, _spent(web)
        httpx2.post(f"{url}/v1/jobs", json=LONG).raise_for_status()

        async def together() -> tuple[Taken, list[str]]:
            among = asyncio.to_thread(visited, url)
            crowd, (_, told) = await asyncio.gather(
                people(url, visit, args.people, args.rounds), among
            )
            return crowd, told

        began = time.perf_counter()
        busy, told = asyncio.run(together())
        spent, lasted = _spent(web) - before, time.perf_counter() - began
        jobs = _jobs(url)
        crowded = web.memory_info().rss
        for job in jobs:
            httpx2.delete(f"{url}/v1/jobs/{job['id']}")
        songs = made(url, args.songs, web) if args.songs else {}
    quiet, crowd = idle.figures(), busy.figures()
    return {
        "requests_of_a_visit": len(visit), "people": args.people, "rounds": args.rounds,
        "idle": quiet, "busy": crowd,
        "ratio_p95": round(crowd["using"]["all"]["p95_ms"] / quiet["using"]["all"]["p95_ms"], 2),
        "web_cpu_share": round(spent / lasted, 2), "seconds": round(lasted, 1),
        "console_errors": complaints + told, "wrong": (idle.wrong + busy.wrong)[:20],
        "still_waiting_or_running": sum(job["state"] in ("queued", "running") for job in jobs),
        "memory_mb": {"fresh": round(fresh / 1e6, 1), "crowd": round(crowded / 1e6, 1)},
        "many_songs": songs,
        "load": _load(),
    }  # fmt: skip


def _jobs(url: str) -> list[Figures]:
    """All jobs of the service."""
    jobs: list[Figures] = []
    cursor: str | None = ""
    while cursor is not None:
        page = httpx2.get(f"{url}/v1/jobs", params={"cursor": cursor} if cursor else {})
        told = page.raise_for_status().json()
        jobs, cursor = jobs + told["jobs"], told["next"]
    return jobs


def _load() -> float | None:
    """Of the machine, over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--songs", type=int, default=500)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    if why := why_not():
        parser.error(why)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        finish("page", measured(args, Path(folder)), args.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
