"""What each correction did to the boxes that were served, and the seconds of each submit."""

import sqlalchemy as sa
from alembic import op

from backend.store.tables import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNTS = ("kept", "moved", "relabelled", "deleted", "added", "cells", "doubts")


def upgrade() -> None:
    """Make the tables; what annotations say now is their first submit."""
    op.create_table(
        "submits",
        sa.Column("annotation", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("submitted_at", UtcDateTime, nullable=False),
        sa.Column("lead_time", sa.Float),
        sa.PrimaryKeyConstraint("annotation", "submitted_at", name="pk_submits"),
    )
    op.create_table(
        "corrections",
        sa.Column("annotation", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("project", sa.Integer, nullable=False),
        sa.Column("submitted_at", UtcDateTime, nullable=False),
        sa.Column("annotator", sa.Text, nullable=False),
        sa.Column("start", sa.String(16), nullable=False),
        sa.Column("served", sa.Text, nullable=False),
        sa.Column("contrast_group", sa.Text, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in COUNTS),
        sa.Column("overlaps", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("annotation", name="pk_corrections"),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name="fk_corrections_project"),
    )
    op.create_index("ix_corrections_project", "corrections", ["project"])
    op.execute(
        "INSERT INTO submits (annotation, submitted_at, lead_time) "
        "SELECT id, updated_at, lead_time FROM annotations WHERE task IS NOT NULL"
    )


def downgrade() -> None:
    """Forget both."""
    op.drop_table("corrections")
    op.drop_table("submits")
