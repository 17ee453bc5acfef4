"""Opens a database and brings its tables up to date, whoever else does the same at that moment."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text

from headroom.errors import InvalidDatabase
from headroom.jobs.database import Database, connect, shown_url
from headroom.jobs.tables import metadata

REVISION = "v0008"  # the newest migration
_MIGRATIONS = Path(__file__).with_name("migrations")
_VERSION = table("alembic_version", column("version_num"))
_LOCK_SECONDS = 30  # on PostgreSQL, for a table that another transaction uses


def open_database(where: str | Path) -> Database:
    """The database at a path or URL, with the tables of this version of the program.

    Raises InvalidDatabase, also for tables of a newer version; DatabaseFailed.
    """
    with ExitStack() as undo:
        database = connect(where)
        undo.callback(database.close)
        with database.read() as connection:
            ready = revision(connection) == REVISION
        if not ready:
            with database.write() as connection:
                database.alone(connection, "migrations")
                migrate(connection)
        undo.pop_all()  # it is handed to the caller open
    return database


def revision(connection: Connection) -> str | None:
    """The newest migration that was applied; None for an empty database."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    found: str | None = connection.scalar(select(_VERSION.c.version_num))
    return found


def migrate(connection: Connection, to: str = REVISION) -> None:
    """Apply the migrations up to `to` in the connection's transaction: all of them or none.

    Raises InvalidDatabase for a database of a newer version.
    """
    from alembic import command, util
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, metadata=metadata)
    try:
        command.upgrade(config, to)
    except util.CommandError as error:
        url = shown_url(connection.engine.url)
        why = f"has the tables of another version ({revision(connection)})"
        raise InvalidDatabase(url, why, f"a database of version {to} or older") from error
