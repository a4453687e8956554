"""How many tasks a project has in Label Studio, those among them that were never seen here."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for the number; the next look at Label Studio tells it."""
    op.add_column("projects", sa.Column("tasks", sa.Integer))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("projects", "tasks")
