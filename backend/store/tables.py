"""The tables as SQLAlchemy sees them; `migrations` brings a database to them."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

ACTIVE = ("queued", "running")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, always zone-aware in Python; SQLite itself keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; give an aware datetime")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _project(primary_key: bool = False) -> Column[int]:
    owner = ForeignKey("projects.id")
    return Column("project", Integer, owner, primary_key=primary_key, nullable=False)


projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("title", Text, nullable=False),
    Column("label_config", Text, nullable=False),
    Column("milestones", JSON),
    Column("default_class", Text),
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("gone", Boolean, nullable=False, default=False),
    Column("pushed", Text),
    Column("strata", JSON),
    Column("blind", Boolean, nullable=False, default=False),
    Column("least_work", Boolean, nullable=False, default=True),
    Column("late_events", Integer, nullable=False, default=0),
    Column("tasks", Integer),
)

images = Table(
    "images",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("sha256", String(64), nullable=False),
    Column("page", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("side", String(16)),
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("fingerprint", String(16)),
    UniqueConstraint("project", "sha256", "page"),
)

# A task shows one image; several tasks may show one image (imported twice by someone else).
tasks = Table(
    "tasks",
    metadata,
    _project(primary_key=True),
    Column("task", Integer, primary_key=True, autoincrement=False),
    Column("image", Integer, ForeignKey("images.id"), nullable=False, index=True),
    Column("address", Text, nullable=False, default=""),
)

# The images that a task has shown, newest last: Label Studio lets its image's address be changed.
showings = Table(
    "showings",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("task", Integer, nullable=False),
    Column("image", Integer, ForeignKey("images.id"), nullable=False),
    Column("since", UtcDateTime, nullable=False, default=now),
    Index(None, "project", "task"),
)

# A deleted annotation stays as a row, to recognise a late event of it. Of one deleted before it was
# seen, only the id is known.
annotations = Table(
    "annotations",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _project(),
    Column("task", Integer),
    Column("result", JSON, nullable=False, default=list),
    Column("labels", JSON, nullable=False, default=dict),
    Column("was_cancelled", Boolean, nullable=False, default=False),
    Column("deleted", Boolean, nullable=False, default=False),
    Column("annotator", Text),
    Column("updated_by", Text),
    Column("lead_time", Float),
    Column("parent_prediction", Integer),
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("updated_at", UtcDateTime, nullable=False, default=now),
    Index(None, "project", "task"),
)

# The names of the annotators of all projects, by their numbers in annotations.
annotators = Table(
    "annotators",
    metadata,
    Column("number", Text, primary_key=True),
    Column("name", Text, nullable=False),
)

# Each submit of an annotation, with Label Studio's running total of its seconds: the differences
# are the times of the updates. Doubled or reordered events leave the same rows.
submits = Table(
    "submits",
    metadata,
    Column("annotation", Integer, primary_key=True, autoincrement=False),
    Column("submitted_at", UtcDateTime, primary_key=True),
    Column("lead_time", Float),
)

# What an annotation did to the boxes it was served. Derived from annotations and predictions, so a
# deleted row is made again. Valid as long as the annotation does not change.
corrections = Table(
    "corrections",
    metadata,
    Column("annotation", Integer, primary_key=True, autoincrement=False),
    _project(),
    Column("submitted_at", UtcDateTime, nullable=False),
    Column("annotator", Text, nullable=False, default=""),
    Column("start", String(16), nullable=False),
    Column("served", Text, nullable=False, default=""),
    Column("contrast_group", Text, nullable=False, default=""),
    Column("kept", Integer, nullable=False),
    Column("moved", Integer, nullable=False),
    Column("relabelled", Integer, nullable=False),
    Column("deleted", Integer, nullable=False),
    Column("added", Integer, nullable=False),
    Column("cells", Integer, nullable=False),
    Column("overlaps", JSON, nullable=False, default=list),
    Column("doubts", Integer, nullable=False, default=0),
    Column("watched", String(16), nullable=False, default=""),
    Column("hidden", Integer, nullable=False, default=0),
    Column("drawn", Integer, nullable=False, default=0),
    Column("planted", Integer, nullable=False, default=0),
    Column("accepted", Integer, nullable=False, default=0),
    Index(None, "project"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("task", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("page", Integer, nullable=False),
    Column("served", Text, nullable=False),
    Column("regions", JSON, nullable=False),
    Column("score", Float),
    Column("contrast_group", Text, nullable=False, default=""),
    Column("flags", JSON, nullable=False, default=list),
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("watch", JSON(none_as_null=True)),
    Column("counted_from", Float, nullable=False, default=0.0),
    UniqueConstraint("project", "task", "served"),
    # An open dashboard keeps asking for flags; without the index SQLite reads past all boxes.
    Index("ix_predictions_flags", "project", "served", "task", "flags").ddl_if(dialect="sqlite"),
)

_ACTIVE_BUTTON = text("\"trigger\" = 'button' AND state IN ('queued', 'running')")

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("milestone", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("trigger", String(16), nullable=False, quote=True),
    Column("state", String(16), nullable=False, default="queued"),
    Column("stage", String(32), nullable=False, default=""),
    Column("fraction", Float, nullable=False, default=0.0),
    Column("message", Text, nullable=False, default=""),
    Column("candidate", Text),
    Column("champion", Text),
    Column("snapshot", String(64)),
    Column("decision", JSON),
    Column("corrected", Integer),
    Column("notes", JSON, nullable=False, default=list),
    Column("iteration", Integer, nullable=False, default=0),
    Column("iterations", Integer, nullable=False, default=0),
    Column("loss", Float),
    Column("ap50", Float),
    Column("seconds_left", Float),
    Column("cut_offs", Integer, nullable=False, default=0),
    Column("cut_off_at", Float, nullable=False, default=0.0),
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("project", "milestone", "attempt"),
    # At most one of a project's button runs waits or runs: the button may be pressed twice.
    Index(
        "uq_runs_active_button",
        "project",
        unique=True,
        sqlite_where=_ACTIVE_BUTTON,
        postgresql_where=_ACTIVE_BUTTON,
    ),
)
