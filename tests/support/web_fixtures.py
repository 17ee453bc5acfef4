"""What tests of an application take: its configuration, the application itself, who calls it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from headroom.hardware.machine import card
from headroom.jobs.schema import open_database
from headroom.service.app import create_app
from headroom.service.config import ServiceConfig, from_settings
from headroom.settings import load
from support.service_place import Place, opened
from support.web import HERE, Engine, Service, Start


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def made_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("service") / "jobs.db"
    open_database(path).close()
    return path


@pytest.fixture
def config(tmp_path: Path, made_database: Path) -> ServiceConfig:
    data = tmp_path / "data"
    data.mkdir()
    (data / "jobs.db").write_bytes(made_database.read_bytes())
    settings = load({"HEADROOM_DATA_DIR": str(data), "HEADROOM_CACHE_DIR": str(tmp_path / "c")})
    return replace(from_settings(settings), free_bytes=0, wait_seconds=0.05)


@pytest.fixture
def start(config: ServiceConfig) -> Iterator[Start]:
    """Starts an application, with other values in its configuration."""
    running: list[TestClient] = []

    def begin(**changed: object) -> Service:
        app = create_app(replace(config, **changed), lambda: card(8))  # type: ignore[arg-type]
        client = TestClient(
            app, base_url=HERE, client=("127.0.0.1", 4000), raise_server_exceptions=False
        )
        client.__enter__()
        running.append(client)
        return Service(app, client)

    yield begin
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def service(start: Start) -> Service:
    return start()


@pytest.fixture
def engine(service: Service) -> Engine:
    return Engine(service.doors)
