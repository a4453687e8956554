"""What a run learns from and covers, how far it is in numbers, and how often it was cut off."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: Name, type, and what stands in the runs of before.
COLUMNS: tuple[tuple[str, Any, str | None], ...] = (
    ("corrected", sa.Integer, None),
    ("notes", sa.JSON, "[]"),
    ("iteration", sa.Integer, "0"),
    ("iterations", sa.Integer, "0"),
    ("loss", sa.Float, None),
    ("ap50", sa.Float, None),
    ("seconds_left", sa.Float, None),
    ("cut_offs", sa.Integer, "0"),
    ("cut_off_at", sa.Float, "0"),
)


def upgrade() -> None:
    """Make room for them; runs that ended before say nothing of these."""
    for name, kind, before in COLUMNS:
        op.add_column("runs", sa.Column(name, kind, nullable=before is None, server_default=before))


def downgrade() -> None:
    """Forget them."""
    for name, _, _ in COLUMNS:
        op.drop_column("runs", name)
