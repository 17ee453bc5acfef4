"""The lines that start the page, as processes: it answers, asks for a key, and ends whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest

from headroom.device.open import present
from support.ports import free_ports

pytestmark = pytest.mark.ci

SONG = {"task": "text2music", "caption": "slow", "duration": 10, "inference_steps": 1, "seed": 3}


@dataclass(frozen=True)
class Started:
    """A page that answers: what it printed by then, and a browser's requests to its ports."""

    printed: Callable[[], str]
    page: httpx2.Client
    api: httpx2.Client
    process: psutil.Process

    def priority(self, module: str) -> int:
        """Of the child that runs this module of the service."""
        children = self.process.children(recursive=True)
        return int(next(one.nice() for one in children if module in " ".join(one.cmdline())))


@contextmanager
def started(folder: Path, line: Sequence[str], api: bool) -> Iterator[Started]:
    """Start `python -m LINE` with `{page}` and `{api}` as its ports; ended as a system ends it."""
    page, other = free_ports(2)
    behind = other if api else page
    words = [word.format(page=page, api=other) for word in line]
    environment = {
        "HEADROOM_DATA_DIR": str(folder / "data"), "HEADROOM_CACHE_DIR": str(folder / "cache"),
        "HEADROOM_DEVICE": "cpu", "HEADROOM_UI_PORT": str(page), "HEADROOM_THREADS": "1",
    }  # fmt: skip
    said = folder / "said.txt"
    with said.open("w") as out:
        process = psutil.Popen(
            [sys.executable, "-m", *words],
            env={**os.environ, **environment},
            cwd=folder,
            stderr=subprocess.STDOUT,
            stdout=out,
        )
    children: list[psutil.Process] = []
    try:
        with (
            httpx2.Client(base_url=f"http://127.0.0.1:{page}", timeout=60) as front,
            httpx2.Client(base_url=f"http://127.0.0.1:{behind}", timeout=60) as back,
        ):
            until = time.monotonic() + 240
            while not _lives(back):
                assert process.poll() is None and time.monotonic() < until, said.read_text()
                time.sleep(0.1)
            yield Started(said.read_text, front, back, psutil.Process(process.pid))
        children = process.children(recursive=True)
        process.terminate()
        assert process.wait(60) in (0, -15)
    finally:
        if process.poll() is None:
            left = process.children(recursive=True)
            for one in (process, *left):
                one.kill()
            process.wait()
    assert children and psutil.wait_procs(children, 30)[1] == []


def _lives(client: httpx2.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx2.TransportError:
        return False


def makes_a_song(started: Started, **headers: str) -> None:
    answer = started.api.post("/v1/jobs", json=SONG, headers=headers)
    assert answer.status_code == 202, answer.text
    id = answer.json()["id"]
    until = time.monotonic() + 240
    while (job := started.api.get(f"/v1/jobs/{id}", headers=headers).json())["state"] != "done":
        assert job["state"] in ("queued", "running") and time.monotonic() < until, job
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("line", "api"),
    [
        (["headroom"], False),
        (["headroom", "ui", "--port", "{page}"], False),
        (["headroom", "serve", "--ui", "--port", "{api}"], True),
    ],
    ids=["no command", "ui", "serve --ui"],
)
def test_the_page_and_the_api_are_there(tmp_path: Path, line: list[str], api: bool) -> None:
    with started(tmp_path, line, api) as service:
        first = service.page.get("/")
        assert (first.status_code, first.headers["location"]) == (307, "/ui/")
        shown = service.page.get("/ui/")
        assert shown.status_code == 200 and "headroom.js" in shown.text
        assert "hr_" not in service.printed()
        makes_a_song(service)
        lower = service.priority("engine_process") > service.priority("web_process")
        assert lower is (present()[0] == "cpu")


def test_the_line_of_the_4_gb_text_asks_for_a_key_in_its_language(tmp_path: Path) -> None:
    line = [
        "acestep.acestep_v15_pipeline", "--server-name", "0.0.0.0", "--port", "{page}",
        "--init_service", "true", "--offload_to_cpu", "true", "--language", "pt",
    ]  # fmt: skip
    with started(tmp_path, line, api=False) as service:
        printed = re.search(r"hr_[\w-]{20,}", service.printed())
        assert printed, service.printed()
        elsewhere = {"host": "10.0.0.9", "accept": "text/html"}  # as a browser in the house asks
        service.page.headers.update(elsewhere)
        service.api.headers.update(elsewhere)
        refused = service.page.get("/ui/")
        assert (refused.status_code, refused.headers.get("location")) == (303, "/login")
        assert '<html lang="pt"' in service.page.get("/login").text
        bearer = {"Authorization": f"Bearer {printed.group()}"}
        entered = service.page.post("/v1/session", headers=bearer)
        assert entered.status_code == 201, entered.text
        page = service.page.get("/ui/")
        assert page.status_code == 200 and "headroom.js" in page.text
        makes_a_song(service, **bearer)
        wrong = service.api.post("/v1/jobs", json=SONG, headers={"X-API-Key": "hr_wrong"})
        assert wrong.status_code == 401
