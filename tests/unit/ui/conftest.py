"""The application of a service with the page, over a database and files of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from headroom.hardware.machine import card
from headroom.service.app import create_app
from headroom.service.config import Page, ServiceConfig, from_settings
from headroom.settings import load
from headroom.ui import mount
from support.web import HERE, Service

PAGE = Page(mount.PATH, mount.LOGIN, mount.POLICY, mount.add)


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> ServiceConfig:
    data = tmp_path_factory.mktemp("page")
    settings = load({"HEADROOM_DATA_DIR": str(data), "HEADROOM_CACHE_DIR": str(data / "c")})
    return replace(from_settings(settings), free_bytes=0, page=PAGE)


@pytest.fixture(scope="session")
def service(config: ServiceConfig) -> Iterator[Service]:
    """One for all tests: building the page takes a second."""
    app = create_app(config, lambda: card(8))
    client = TestClient(
        app, base_url=HERE, client=("127.0.0.1", 4000), raise_server_exceptions=False
    )
    with client:
        yield Service(app, client)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path
