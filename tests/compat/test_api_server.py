"""`acestep.api_server`: importing it has no effect; its lifespan does everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
import uvicorn

from acestep import api_server
from headroom.cli import main as cli_main
from headroom.jobs.keys import Keys
from headroom.jobs.schema import open_database

ASK = """
import os, sys, threading
before = set(os.listdir("."))
import acestep.api_server
heavy = [m for m in ("torch", "sqlalchemy", "fastapi", "uvicorn") if m in sys.modules]
print(heavy, threading.active_count(), set(os.listdir(".")) - before)
"""


def test_importing_it_has_no_effect(tmp_path: Path) -> None:
    ask = [sys.executable, "-c", ASK]
    done = subprocess.run(ask, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 1 set()"


def test_it_answers_nothing_without_its_lifespan() -> None:
    async def call() -> None:
        await api_server.App()({"type": "http"}, None, None)  # type: ignore[arg-type]

    with pytest.raises(RuntimeError, match="lifespan"):
        anyio.run(call)


def test_the_lifespan_starts_and_ends_the_engine_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    class Quiet:
        def __init__(self, config: object, options: object, web: bool) -> None:
            assert not web

        def start(self) -> None:
            done.append("start")

        def close(self) -> None:
            done.append("close")

    monkeypatch.setattr("headroom.service.supervisor.Supervisor", Quiet)
    monkeypatch.setattr(api_server, "show", lambda level: None)
    monkeypatch.setenv("HEADROOM_DATA_DIR", str(tmp_path))
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return messages.pop(0)

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    async def live() -> None:
        await api_server.App()({"type": "lifespan", "state": {}}, receive, send)  # type: ignore[arg-type]

    open_database(tmp_path / "jobs.db").close()
    anyio.run(live)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert done == ["start", "close"]
    (key,) = Keys(open_database(tmp_path / "jobs.db")).all()  # its address is not known
    assert key.scopes == ("use", "admin") and "hr_" in caplog.text
    messages[:] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    anyio.run(live)
    assert len(Keys(open_database(tmp_path / "jobs.db")).all()) == 1


def test_a_service_that_cannot_start_ends_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(api_server, "show", lambda level: None)
    monkeypatch.setenv("HEADROOM_DATA_DIR", str(tmp_path / "file" / "data"))
    server = uvicorn.Server(uvicorn.Config(api_server.App(), port=0, log_level="critical"))
    with pytest.raises(SystemExit) as raised:
        server.run()
    assert raised.value.code == 3 and not server.started


def test_acestep_api_is_acestep_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []
    monkeypatch.setattr(cli_main, "main", lambda words: said.append(words) or 0)
    assert api_server.main(["--port", "8001"]) == 0
    assert said == [["serve", "--port", "8001"]]
