"""One set of tests over both databases: `database` is of each kind in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headroom.jobs.database import Database
from headroom.jobs.queue import Queue
from headroom.jobs.schema import open_database
from headroom.jobs.worker import Worker
from support import postgres
from support.clock import Hands
from support.databases import KINDS, Server, copied, opened


@pytest.fixture(scope="session")
def sqlite_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables and no rows; to be copied."""
    path = tmp_path_factory.mktemp("model") / "jobs.db"
    open_database(path).close()
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    with postgres.server() as socket:
        server = Server(socket)
        yield server
        server.close()


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The path or URL of a database with all tables."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres_server")
        return server.fresh()
    return str(copied(request.getfixturevalue("sqlite_model"), tmp_path))


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The path or URL of a database without tables."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres_server")
        yield server.empty()
    else:
        yield str(tmp_path / "new.db")


@pytest.fixture
def database(where: str) -> Iterator[Database]:
    yield from opened(where)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def queue(database: Database, hands: Hands) -> Queue:
    return Queue(database, hands.clock)


@pytest.fixture
def worker(database: Database, hands: Hands) -> Worker:
    return Worker(database, "one", hands.clock)
