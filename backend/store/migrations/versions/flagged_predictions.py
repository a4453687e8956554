"""An index by which SQLite tells the flags of what was served without reading the boxes."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NAME, COLUMNS = "ix_predictions_flags", ["project", "served", "task", "flags"]


def upgrade() -> None:
    """Make it; PostgreSQL keeps large values beside its rows, and indexes no JSON."""
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(NAME, "predictions", COLUMNS)


def downgrade() -> None:
    """Drop it, where there is one."""
    op.drop_index(NAME, "predictions", if_exists=True)
