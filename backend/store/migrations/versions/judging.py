"""Strata of contrast by which a project is judged; held-out tasks that open without boxes."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for both; strata are set when there are images enough, and tasks keep boxes."""
    op.add_column("projects", sa.Column("strata", sa.JSON))
    op.add_column(
        "projects", sa.Column("blind", sa.Boolean, nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    """Forget both."""
    op.drop_column("projects", "blind")
    op.drop_column("projects", "strata")
