"""How many events of a project came late, or are dated back by a clock that was set back."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for the number; it begins at none."""
    op.add_column(
        "projects", sa.Column("late_events", sa.Integer, nullable=False, server_default="0")
    )


def downgrade() -> None:
    """Forget it."""
    op.drop_column("projects", "late_events")
