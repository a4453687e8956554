from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from packaging.requirements import Requirement
from sqlalchemy import Engine, create_engine, event, inspect, select, text
from sqlalchemy.exc import IntegrityError

from backend.errors import NotFound, StoreError
from backend.store.database import (
    MIGRATIONS,
    REVISION,
    REVISIONS,
    open_database,
    open_to_read,
    revision_of,
    writing,
)
from backend.store.images import Images
from backend.store.predictions import Predictions, StoredPrediction
from backend.store.tables import UtcDateTime, metadata
from tests.backend.conftest import no_room


def test_the_migrations_lead_to_the_tables_that_the_code_uses(engine: Engine) -> None:
    of_others = set() if engine.dialect.name == "sqlite" else {"ix_predictions_flags"}

    def is_compared(item: object, name: str | None, *rest: object) -> bool:
        return name not in of_others

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_compared})
        assert compare_metadata(context, metadata) == []
    for name, table in metadata.tables.items():  # of keys and order it says nothing
        there = inspect(engine)
        key = there.get_pk_constraint(name)["constrained_columns"]
        assert key == [column.name for column in table.primary_key]
        assert [each["name"] for each in there.get_columns(name)] == table.columns.keys()


def test_the_migrations_are_those_that_are_asked_for() -> None:
    newest_first = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    assert [script.revision for script in newest_first] == [*reversed(REVISIONS)]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_waits_for_a_writer_keeps_references_and_a_log(engine: Engine) -> None:
    with engine.connect() as connection:
        values = [
            connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        ]
    assert values == ["wal", 1, 15000]


def test_a_database_opened_again_keeps_what_it_holds(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'deep' / 'cytoloop.db'}"
    first = open_database(url)
    with first.begin() as connection:
        connection.execute(metadata.tables["annotators"].insert().values(number="1", name="kept"))
    first.dispose()
    again = open_database(url)
    with again.connect() as connection:
        assert connection.scalar(text("SELECT name FROM annotators")) == "kept"
    again.dispose()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nowhere", "CYTOLOOP_DATABASE_URL cannot be used"),
        (
            "postgresql+nodriver://lab:hunter2@localhost/cells",
            r"is sqlite:///FILE, or postgresql\+psycopg",
        ),
        ("sqlite:///{folder}", "Give the right to write to its file and its folder"),
        ("sqlite:///{folder}/text.db", "file is not a database.*cytoloop doctor"),
    ],
)
def test_a_database_that_cannot_be_opened_is_said_with_what_to_do(
    tmp_path: Path, url: str, said: str
) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(StoreError, match=said) as caught:
        open_database(url.format(folder=tmp_path))
    assert "hunter2" not in str(caught.value)


def test_on_a_full_disk_room_is_asked_for_and_what_was_closed_can_be_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a?b%20c.db'}".replace("%", "%25").replace("?", "%3F")
    written = open_database(url)
    with written.begin() as connection:
        connection.execute(text("PRAGMA wal_autocheckpoint = 0"))
        connection.execute(text("CREATE TABLE kept (cells)"))
    left = [Path(f"{written.url.database}{end}") for end in ("-wal", "")]
    copies = [tmp_path / f"killed.db{end}" for end in ("-wal", "")]
    for file, copy in zip(left, copies, strict=True):  # as a process leaves them that is killed
        shutil.copy(file, copy)
    written.dispose()
    with no_room():
        with pytest.raises(StoreError, match=r"disk I/O error.* make room on it"):
            open_database(url)
        engine = open_to_read(url)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM kept")) == 0
        engine.dispose()
        with pytest.raises(StoreError, match="make room on it"):
            open_to_read(f"sqlite:///{copies[1]}")
        with pytest.raises(StoreError, match="make room on it"):
            open_to_read(f"sqlite:///{tmp_path / 'new.db'}")
    engine = open_to_read(f"sqlite:///{copies[1]}")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO kept VALUES (7)"))
    engine.dispose()


def test_the_driver_of_postgresql_comes_with_the_package(pytestconfig: pytest.Config) -> None:
    package = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())
    needed = {Requirement(line).name for line in package["project"]["dependencies"]}
    assert create_engine("postgresql+psycopg://HOST/NAME").driver in needed


@pytest.mark.parametrize("revision", ["0001", "0013", "of_later_tables"])
def test_a_database_of_another_cytoloop_is_left_as_it_is_and_said_so(
    engine: Engine, revision: str
) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    said = rf"revision {revision}, .* Another Cytoloop made it: install that .* move the database"
    with pytest.raises(StoreError, match=said):
        open_database(engine.url.render_as_string(hide_password=False))


@pytest.mark.parametrize("after", ["CREATE TABLE projects", "CREATE TABLE runs"])
def test_a_migration_that_was_cut_off_is_made_anew_at_the_next_start(
    tmp_path: Path, after: str
) -> None:
    url = f"sqlite:///{tmp_path / 'cytoloop.db'}"

    def cut_off(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if after in statement:
            raise KeyboardInterrupt

    event.listen(Engine, "after_cursor_execute", cut_off)
    try:
        with pytest.raises(KeyboardInterrupt):
            open_database(url)
    finally:
        event.remove(Engine, "after_cursor_execute", cut_off)
    engine = open_database(url)
    assert revision_of(engine) == REVISION
    engine.dispose()


def test_of_an_earlier_database_the_predictions_say_which_images_a_task_showed(
    engine: Engine, tmp_path: Path
) -> None:
    images, predictions = Images(engine, tmp_path), Predictions(engine)
    for task, sha256 in [(4, "a"), (4, "b"), (5, "a")]:
        images.add(1, sha256 * 64, 0, f"{sha256}.png", 8, 8)
        images.attach_task(1, sha256 * 64, 0, task)
        predictions.put(StoredPrediction(1, task, sha256 * 64, 0, f"v-{sha256}", []))
    (task,) = images.exchanged(1)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE showings"))
        connection.execute(text("UPDATE alembic_version SET version_num = 'first_tables'"))
        came = connection.scalar(
            select(metadata.tables["images"].c.created_at).filter_by(name="b.png")
        )
    migrated = open_database(engine.url.render_as_string(hide_password=False))
    assert Images(migrated, tmp_path).exchanged(1) == {task: came} == {4: came}
    migrated.dispose()


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_start_at_once_migrate_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'cytoloop.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("server").new_database(tables=False)
    code = f"from backend.store.database import open_database; open_database({url!r})"
    starting = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)
    ]
    said = [process.communicate(timeout=60)[1].decode() for process in starting]
    assert [(p.returncode, err) for p, err in zip(starting, said, strict=True)] == [(0, "")] * 3
    opened = open_database(url)
    with opened.connect() as connection:
        assert connection.scalars(text("SELECT * FROM alembic_version")).all() == [REVISION]
    opened.dispose()


def test_a_row_that_is_not_whole_is_not_taken_for_one_of_an_unknown_project(
    engine: Engine,
) -> None:
    broken = metadata.tables["images"].insert().values(project=1, sha256="ab" * 32, page=0)
    with pytest.raises(IntegrityError), writing(engine, 1) as connection:
        connection.execute(broken)


def test_rows_of_an_unknown_project_are_refused_with_what_to_do(engine: Engine) -> None:
    with pytest.raises(NotFound, match=r"Project 9 .* `cytoloop connect --project 9`"):
        Images(engine, Path()).add(9, "0" * 64, 0, "a.tif", 4, 4)


def test_a_moment_without_a_zone_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), engine.dialect)


def test_a_moment_comes_back_in_utc(engine: Engine) -> None:
    read = UtcDateTime().process_result_value(datetime(2026, 1, 1), engine.dialect)
    assert read == datetime(2026, 1, 1, tzinfo=UTC)
