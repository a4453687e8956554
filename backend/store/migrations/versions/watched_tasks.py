"""Which predictions were watched for automation bias, and what their corrections showed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COUNTS = ("hidden", "drawn", "planted", "accepted")


def upgrade() -> None:
    """Make room for them; nothing was watched before."""
    op.add_column("predictions", sa.Column("watch", sa.JSON))
    op.add_column(
        "corrections", sa.Column("watched", sa.String(16), nullable=False, server_default="")
    )
    for name in COUNTS:
        op.add_column(
            "corrections", sa.Column(name, sa.Integer, nullable=False, server_default="0")
        )


def downgrade() -> None:
    """Forget them."""
    for name in ("watched", *COUNTS):
        op.drop_column("corrections", name)
    op.drop_column("predictions", "watch")
