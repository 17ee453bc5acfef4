"""Opening databases and bringing their tables up to date."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from headroom.errors import DatabaseFailed, InvalidDatabase
from headroom.jobs import database as database_module
from headroom.jobs import schema
from headroom.jobs.database import Database, connect
from headroom.jobs.schema import REVISION, migrate, open_database, revision
from headroom.jobs.tables import metadata


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def test_the_migrations_lead_to_the_declared_tables(database: Database) -> None:
    def declared(_: object, name: str | None, *rest: object) -> bool:
        """On SQLite a full-text table has the place of an index; no metadata can declare it."""
        return not database.is_sqlite or "song_grams" not in (name or "").replace("songs", "song")

    with database.read() as connection:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_object": declared,
        }
        differences = compare_metadata(
            MigrationContext.configure(connection, opts=options), metadata
        )
        checks = {
            one["name"]
            for table in metadata.tables
            for one in inspect(connection).get_check_constraints(table)
        }
    assert differences == []
    assert checks == {"ck_jobs_state", "ck_jobs_holder", "ck_jobs_ended"}
    assert ("song_grams" in tables(database)) == database.is_sqlite


def test_the_newest_migration_is_the_one_the_program_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_several_processes_open_a_new_database_at_once(empty: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda _: open_database(empty), range(6)))
    for database in opened:
        with database.read() as connection:
            assert revision(connection) == REVISION
        database.close()


def test_a_migration_that_breaks_off_leaves_nothing(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = connect(empty)

    class Broken(Exception):
        pass

    with pytest.raises(Broken), database.write() as connection:
        migrate(connection)
        assert "jobs" in inspect(connection).get_table_names()
        raise Broken
    assert tables(database) == set()
    database.close()


def test_a_database_of_a_newer_version_is_left_alone(where: str) -> None:
    database = connect(where)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9999'"))
    before = tables(database)
    with pytest.raises(InvalidDatabase, match="another version") as raised:
        open_database(where)
    assert "v9999" in raised.value.why
    assert tables(database) == before
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@host/name",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+asyncpg://me:secret@host/name",
        "postgresql://me:secret@host:port/name",
        "http://me:secret@host",
    ],
)
def test_other_databases_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(InvalidDatabase) as raised:
        open_database(url)
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(vars(raised.value))


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseFailed):
        open_database(tmp_path / "no" / "such" / "folder.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 99)
    with pytest.raises(DatabaseFailed):
        open_database(tmp_path / "text.db")


def test_a_file_survives_a_power_cut_after_each_commit(tmp_path: Path) -> None:
    database = open_database(tmp_path / "jobs.db")
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "foreign_keys": 1,
        "busy_timeout": 1000 * database_module.BUSY_SECONDS,
    }
    database.close()


def test_a_transaction_that_reads_first_still_writes(tmp_path: Path) -> None:
    """With the driver's own BEGIN it would fail at once: another wrote since it read."""
    database = open_database(tmp_path / "jobs.db")
    with database.write() as connection:
        connection.execute(text("SELECT count(*) FROM keys"))
        other = sqlite3.connect(tmp_path / "jobs.db", timeout=0.05)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO turns VALUES ('b', 1)")
        other.close()
        connection.execute(text("INSERT INTO turns VALUES ('a', 1)"))
    database.close()


def test_a_reader_waits_for_no_writer(tmp_path: Path) -> None:
    database = open_database(tmp_path / "jobs.db")
    with database.write() as connection:
        connection.execute(text("INSERT INTO turns VALUES ('a', 1)"))
        with database.read() as reader:
            assert reader.scalar(text("SELECT count(*) FROM turns")) == 0
    database.close()


def test_a_writer_that_waits_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    database = open_database(tmp_path / "jobs.db")
    with database.write(), pytest.raises(DatabaseFailed, match="locked"), database.write():
        pass
    database.close()


def test_one_who_waits_too_long_for_a_connection_is_told(tmp_path: Path) -> None:
    open_database(tmp_path / "jobs.db").close()
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    database = Database(create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05))
    with database.read(), pytest.raises(DatabaseFailed, match="in use"), database.read():
        pass
    database.close()
