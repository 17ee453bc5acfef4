"""Adds what tells jobs that make the same songs, and whose songs a job was answered with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0007"
down_revision = "v0006"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("jobs", sa.Column("same", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("reused", sa.Text(), nullable=True))
    op.create_index("ix_jobs_same", "jobs", ["same"])
