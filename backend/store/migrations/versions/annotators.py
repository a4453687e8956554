"""What the annotators are called, by Label Studio's numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; the next look at Label Studio fills it."""
    op.create_table(
        "annotators",
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_annotators")),
    )


def downgrade() -> None:
    """Forget the names."""
    op.drop_table("annotators")
