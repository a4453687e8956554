"""What each image looks like, so that near-duplicates share a side."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for a fingerprint; it is filled in when one is first asked for."""
    op.add_column("images", sa.Column("fingerprint", sa.String(16)))


def downgrade() -> None:
    """Forget the fingerprints."""
    op.drop_column("images", "fingerprint")
