"""The first tables."""

import sqlalchemy as sa
from alembic import op

from backend.store.tables import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of an empty database."""
    _projects_and_images()
    _annotations()
    _predictions()
    _runs()


def downgrade() -> None:
    """Remove them all, with what they hold."""
    for table in ("runs", "predictions", "annotations", "tasks", "images", "projects"):
        op.drop_table(table)


def _project_of(table: str) -> list[sa.schema.SchemaItem]:
    name = f"fk_{table}_project"
    return [
        sa.Column("project", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=name),
    ]


def _projects_and_images() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("label_config", sa.Text, nullable=False),
        sa.Column("milestones", sa.JSON),
        sa.Column("default_class", sa.Text),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.Integer, nullable=False),
        *_project_of("images"),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("page", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("side", sa.String(16)),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.UniqueConstraint("project", "sha256", "page", name="uq_images_project_sha256_page"),
    )
    op.create_table(
        "tasks",
        *_project_of("tasks"),
        sa.Column("task", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("image", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("project", "task", name="pk_tasks"),
        sa.ForeignKeyConstraint(["image"], ["images.id"], name="fk_tasks_image"),
    )
    op.create_index("ix_tasks_image", "tasks", ["image"])


def _annotations() -> None:
    op.create_table(
        "annotations",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        *_project_of("annotations"),
        sa.Column("task", sa.Integer),
        sa.Column("result", sa.JSON, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("was_cancelled", sa.Boolean, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("annotator", sa.Text),
        sa.Column("lead_time", sa.Float),
        sa.Column("parent_prediction", sa.Integer),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
    )
    op.create_index("ix_annotations_project_task", "annotations", ["project", "task"])


def _predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("id", sa.Integer, nullable=False),
        *_project_of("predictions"),
        sa.Column("task", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("page", sa.Integer, nullable=False),
        sa.Column("served", sa.Text, nullable=False),
        sa.Column("regions", sa.JSON, nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("contrast_group", sa.Text, nullable=False),
        sa.Column("flags", sa.JSON, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
        sa.UniqueConstraint("project", "task", "served", name="uq_predictions_project_task_served"),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, nullable=False),
        *_project_of("runs"),
        sa.Column("milestone", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False, quote=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("fraction", sa.Float, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("candidate", sa.Text),
        sa.Column("champion", sa.Text),
        sa.Column("snapshot", sa.String(64)),
        sa.Column("decision", sa.JSON),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint(
            "project", "milestone", "attempt", name="uq_runs_project_milestone_attempt"
        ),
    )
    active_button = sa.text("\"trigger\" = 'button' AND state IN ('queued', 'running')")
    op.create_index(
        "uq_runs_active_button",
        "runs",
        ["project"],
        unique=True,
        sqlite_where=active_button,
        postgresql_where=active_button,
    )
