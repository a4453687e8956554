"""Who changed each annotation last: it may be another than who submitted it."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for it; of what was submitted until now it is not known."""
    op.add_column("annotations", sa.Column("updated_by", sa.Text))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("annotations", "updated_by")
