"""Databases for tests, migrated once and copied: SQLite files, and one PostgreSQL server."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text

from headroom.jobs.database import Database, connect
from headroom.jobs.schema import REVISION, open_database
from headroom.jobs.tables import metadata

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.database)]


class Server:
    """A PostgreSQL server and a database in it that is emptied for each test, which is quick."""

    def __init__(self, socket: str) -> None:
        self._socket, self._made = socket, 0
        self._hall = connect(self._url("postgres"))
        self._shared = self.empty()
        self._tables = open_database(self._shared)

    def _url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self._socket}"

    def fresh(self) -> str:
        """The URL of the database with all tables, which have no rows."""
        with self._tables.write() as connection:
            names = ", ".join(table.name for table in metadata.sorted_tables)
            connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{REVISION}'"))
        return self._shared

    def empty(self) -> str:
        """The URL of a new database without tables."""
        self._made += 1
        name = f"made{self._made}"
        with self._hall.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as hall:
            hall.execute(text(f"CREATE DATABASE {name}"))
        return self._url(name)

    def close(self) -> None:
        self._tables.close()
        self._hall.close()


def opened(where: str | Path) -> Iterator[Database]:
    database = open_database(where)
    yield database
    database.close()


def copied(model: Path, folder: Path) -> Path:
    return Path(shutil.copy(model, folder / "jobs.db"))


def hurried(model: Path, folder: Path) -> Callable[[], Database]:
    """Opens a new SQLite database at each call, which does not wait for the disk."""

    def hurry(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    def fresh() -> Database:
        for path in folder.glob("jobs.db-*"):
            path.unlink()
        database = connect(copied(model, folder))
        event.listen(database.engine, "connect", hurry)
        return database

    return fresh
