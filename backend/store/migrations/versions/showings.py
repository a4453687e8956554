"""Since when a task shows its image, and which ones it showed before."""

import sqlalchemy as sa
from alembic import op

from backend.store.tables import UtcDateTime

revision = "showings"
down_revision = "first_tables"


def upgrade() -> None:
    """Make the table, and fill it with what the predictions say."""
    op.create_table(
        "showings",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("project", sa.Integer, nullable=False),
        sa.Column("task", sa.Integer, nullable=False),
        sa.Column("image", sa.Integer, nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name="fk_showings_project"),
        sa.ForeignKeyConstraint(["image"], ["images.id"], name="fk_showings_image"),
        sa.PrimaryKeyConstraint("id", name="pk_showings"),
    )
    op.create_index("ix_showings_project_task", "showings", ["project", "task"])
    # A task shows an image at the earliest since the image is here.
    shown = """
        SELECT tasks.project, tasks.task, images.id AS image, images.created_at AS since
        FROM tasks JOIN images ON images.id = tasks.image
        UNION
        SELECT tasks.project, tasks.task, images.id, images.created_at
        FROM tasks JOIN predictions
            ON predictions.project = tasks.project AND predictions.task = tasks.task
        JOIN images
            ON images.project = tasks.project
            AND images.sha256 = predictions.sha256 AND images.page = predictions.page
    """
    op.execute(f"INSERT INTO showings (project, task, image, since) {shown} ORDER BY since")
