"""Which projects are gone from Label Studio, and whose boxes their open tasks have."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for both; no project is gone until Label Studio says so."""
    op.add_column(
        "projects", sa.Column("gone", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("projects", sa.Column("pushed", sa.Text))


def downgrade() -> None:
    """Forget both."""
    op.drop_column("projects", "pushed")
    op.drop_column("projects", "gone")
