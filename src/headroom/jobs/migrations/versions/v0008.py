"""Adds the models that were loaded for requests that name none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0008"
down_revision = "v0007"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "choices",
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("family", name=op.f("pk_choices")),
    )
