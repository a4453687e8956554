"""The first tables."""

import sqlalchemy as sa
from alembic import op

from backend.store.tables import UtcDateTime

revision = "first_tables"
down_revision = None


def upgrade() -> None:
    """Make the tables of an empty database."""
    _projects()
    _images()
    _annotations()
    _corrections()
    _predictions()
    _runs()


def _project_of(table: str) -> list[sa.schema.SchemaItem]:
    name = f"fk_{table}_project"
    return [
        sa.Column("project", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=name),
    ]


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def _projects() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("label_config", sa.Text, nullable=False),
        sa.Column("milestones", sa.JSON),
        sa.Column("default_class", sa.Text),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False),
        sa.Column("pushed", sa.Text),
        sa.Column("strata", sa.JSON),
        sa.Column("blind", sa.Boolean, nullable=False),
        sa.Column("least_work", sa.Boolean, nullable=False),
        sa.Column("late_events", sa.Integer, nullable=False),
        sa.Column("tasks", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )


def _images() -> None:
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
        sa.Column("fingerprint", sa.String(16)),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.UniqueConstraint("project", "sha256", "page", name="uq_images_project_sha256_page"),
    )
    op.create_table(
        "tasks",
        *_project_of("tasks"),
        sa.Column("task", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("image", sa.Integer, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
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
        sa.Column("updated_by", sa.Text),
        sa.Column("lead_time", sa.Float),
        sa.Column("parent_prediction", sa.Integer),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
    )
    op.create_index("ix_annotations_project_task", "annotations", ["project", "task"])
    op.create_table(
        "annotators",
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_annotators"),
    )


def _corrections() -> None:
    op.create_table(
        "submits",
        sa.Column("annotation", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("submitted_at", UtcDateTime, nullable=False),
        sa.Column("lead_time", sa.Float),
        sa.PrimaryKeyConstraint("annotation", "submitted_at", name="pk_submits"),
    )
    op.create_table(
        "corrections",
        sa.Column("annotation", sa.Integer, autoincrement=False, nullable=False),
        *_project_of("corrections"),
        sa.Column("submitted_at", UtcDateTime, nullable=False),
        sa.Column("annotator", sa.Text, nullable=False),
        sa.Column("start", sa.String(16), nullable=False),
        sa.Column("served", sa.Text, nullable=False),
        sa.Column("contrast_group", sa.Text, nullable=False),
        *_counts("kept", "moved", "relabelled", "deleted", "added", "cells"),
        sa.Column("overlaps", sa.JSON, nullable=False),
        *_counts("doubts"),
        sa.Column("watched", sa.String(16), nullable=False),
        *_counts("hidden", "drawn", "planted", "accepted"),
        sa.PrimaryKeyConstraint("annotation", name="pk_corrections"),
    )
    op.create_index("ix_corrections_project", "corrections", ["project"])


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
        sa.Column("watch", sa.JSON),
        sa.Column("counted_from", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
        sa.UniqueConstraint("project", "task", "served", name="uq_predictions_project_task_served"),
    )
    # PostgreSQL stores large values apart from the rows anyway, and indexes no JSON.
    if op.get_bind().dialect.name == "sqlite":
        columns = ["project", "served", "task", "flags"]
        op.create_index("ix_predictions_flags", "predictions", columns)


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, nullable=False),
        *_project_of("runs"),
        *_counts("milestone", "attempt"),
        sa.Column("trigger", sa.String(16), nullable=False, quote=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("fraction", sa.Float, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("candidate", sa.Text),
        sa.Column("champion", sa.Text),
        sa.Column("snapshot", sa.String(64)),
        sa.Column("decision", sa.JSON),
        sa.Column("corrected", sa.Integer),
        sa.Column("notes", sa.JSON, nullable=False),
        *_counts("iteration", "iterations"),
        sa.Column("loss", sa.Float),
        sa.Column("ap50", sa.Float),
        sa.Column("seconds_left", sa.Float),
        *_counts("cut_offs"),
        sa.Column("cut_off_at", sa.Float, nullable=False),
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
