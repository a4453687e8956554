"""From which score the boxes of a prediction count; what a project's shown boxes are chosen for."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for both; until now all that was served counts."""
    op.add_column("predictions", sa.Column("counted_from", sa.Float))
    op.add_column(
        "projects", sa.Column("least_work", sa.Boolean, nullable=False, server_default=sa.true())
    )


def downgrade() -> None:
    """Forget both; boxes that were shown without counting count again."""
    op.drop_column("projects", "least_work")
    op.drop_column("predictions", "counted_from")
