"""Adds which files jobs told something of; what older jobs told stays with those jobs alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0006"
down_revision = "v0005"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "answers",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_answers_job"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job", "file", name=op.f("pk_answers")),
    )
    op.create_index("ix_answers_file", "answers", ["file"])
