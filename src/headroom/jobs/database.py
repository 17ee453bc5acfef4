"""Opens the database: SQLite in a file by default, PostgreSQL by URL. The only two dialects.

SQLite runs in WAL mode with `synchronous=FULL`: what was committed survives a power cut. BEGIN is
issued here and not by the driver, and a transaction that writes locks the database at its first
statement (BEGIN IMMEDIATE): one that first reads and then writes would otherwise fail at once
whenever another process wrote in between, whatever the timeout.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from headroom.errors import DatabaseFailed, InvalidDatabase, StorageFull

ALLOWED = "the path of a SQLite file, sqlite:///FILE, or postgresql://USER@HOST/NAME"
BUSY_SECONDS = 30.0  # far above the longest transaction, which takes milliseconds
_SWITCH_SECONDS = 10.0  # for the first process of several to switch a new file to WAL
_SQLITE = (3, 35, 0)  # RETURNING


class Database:
    """An open database, for any number of threads. Close it at the end."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(headroom_reads=True)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may change rows; it is on disk when the block has ended.

        Raises DatabaseFailed, and StorageFull for a full disk. If anything is raised, nothing was
        changed.
        """
        with _translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that changes nothing and, on SQLite, waits for nobody.

        Raises DatabaseFailed.
        """
        with _translated(), self._reading.begin() as connection:
            yield connection

    def alone(self, connection: Connection, what: str) -> None:
        """Until its transaction ends, no other runs that is `alone` for the same thing.

        SQLite has one writer at a time anyway. On PostgreSQL counting and then inserting would let
        two transactions through that together exceed a limit.
        """
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(crc32(what.encode()))))

    def close(self) -> None:
        self.engine.dispose()


def connect(where: str | Path) -> Database:
    """The database at a path or URL, whatever its tables. Raises InvalidDatabase, DatabaseFailed.

    `open_database` is the one that brings its tables up to date.
    """
    url = _url(where)
    if url.get_backend_name() == "sqlite":
        return Database(_sqlite(url))
    try:
        return Database(create_engine(url, pool_pre_ping=True))
    except ModuleNotFoundError as error:
        why = "needs psycopg, which is not installed (pip install 'headroom-audio[postgresql]')"
        raise InvalidDatabase(shown_url(url), why, ALLOWED) from error


def shown_url(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _url(where: str | Path) -> URL:
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(where))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise InvalidDatabase("(not shown)", "is not a URL", ALLOWED) from error
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
        return url
    raise InvalidDatabase(shown_url(url), "cannot be used", ALLOWED)


def _sqlite(url: URL) -> Engine:
    if sqlite3.sqlite_version_info < _SQLITE:
        why = f"needs SQLite 3.35; this Python has {sqlite3.sqlite_version}"
        raise InvalidDatabase(shown_url(url), why, ALLOWED)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transactions: `_begin` does
    until = time.monotonic() + _SWITCH_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:  # another process is switching; the timeout does not help
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get("headroom_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def _translated() -> Iterator[None]:
    """Faults of the database as errors of this program; faults of this program as they are."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseFailed("all of its connections are in use") from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StorageFull(0, 0) from error
        if isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError:
            raise DatabaseFailed(str(error.orig)) from error
        raise  # such as a violated constraint: a fault of this program
