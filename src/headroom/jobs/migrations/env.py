"""What Alembic runs to apply migrations: it uses the transaction that is open already."""

from __future__ import annotations

from alembic import context


def run() -> None:
    given = context.config.attributes
    # Batches, because SQLite changes a column only by writing its table anew. Alembic takes SQLite
    # for a database whose tables cannot be changed in a transaction: that is so only of the driver.
    context.configure(
        connection=given["connection"],
        target_metadata=given["metadata"],
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # the name under which Alembic loads this file
    run()
