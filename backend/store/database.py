"""Opening the database: pragmas, upserts, and migrations that two processes may run at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from backend.errors import NotFound, StoreError
from backend.store.mending import DOCTOR, mend_of
from model.atomic import locked

MIGRATIONS = Path(__file__).parent / "migrations"

#: The migrations, oldest first; a test compares them with `migrations`.
REVISIONS = ("first_tables", "showings")
REVISION = REVISIONS[-1]
ANOTHER = (
    "Another Cytoloop made it: install that one again. Or stop the loop, move the database away "
    "(of SQLite also what lies beside it, -wal and -shm) and start: what Label Studio holds is "
    "fetched again."
)

BUSY_TIMEOUT_MS = 15_000
ADVISORY_LOCK = 20260911


def open_database(url: str) -> Engine:
    """Connect, and bring the tables up to date.

    Parameters
    ----------
    url
        A SQLAlchemy URL: ``sqlite:///…`` or ``postgresql+…``.

    Raises
    ------
    StoreError
        The address is invalid, or there is no readable database, for example because another
        Cytoloop made it.
    """
    engine = _connect(url)
    where = engine.url.render_as_string(hide_password=True)
    try:
        revision = revision_of(engine)
        if is_of_another(revision):
            engine.dispose()
            raise StoreError(f"{other_revision(where, revision)}. {ANOTHER}")
        if revision != REVISION:
            with _one_at_a_time(engine):
                _migrate(engine)
    except DBAPIError as error:
        engine.dispose()
        mend = mend_of(error) or DOCTOR
        raise StoreError(f"The database {where} cannot be opened ({error.orig}). {mend}") from error
    return engine


def open_to_read(url: str) -> Engine:
    """Connect as ``open_database`` does, even if SQLite has no room or no right to write.

    SQLite makes files beside a database even to read it. A closed database is read without them.

    Raises
    ------
    StoreError
        As in ``open_database``; also if the last writes are still in such a file.
    """
    try:
        return open_database(url)
    except StoreError as error:
        if (cause := error.__cause__) is None or not mend_of(cause):
            raise
        engine = _as_it_was_closed(make_url(url))
        if engine is None:
            raise
        return engine


def _as_it_was_closed(url: URL) -> Engine | None:
    log = Path(f"{url.database}-wal")
    if log.exists() and log.stat().st_size:
        return None
    file, as_it_is = f"file:{quote(url.database or '')}", {"immutable": "1", "uri": "true"}
    engine = create_engine(url.set(database=file, query=as_it_is))
    try:
        if revision_of(engine) == REVISION:
            return engine
    except DBAPIError:
        pass
    engine.dispose()
    return None


def _connect(url: str) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    except (ArgumentError, ImportError) as error:
        raise StoreError(
            f"CYTOLOOP_DATABASE_URL cannot be used: {error}. It is sqlite:///FILE, or "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME."
        ) from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    return engine


@contextmanager
def writing(engine: Engine, project: int) -> Iterator[Connection]:
    """Open a transaction on rows of a project.

    Raises
    ------
    NotFound
        The store does not know the project.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except IntegrityError as error:
        if not _lacks_what_is_referred_to(error):
            raise
        raise unknown_project(project) from error


def unknown_project(id: int) -> NotFound:
    """Return the error for a project that the store does not know."""
    return NotFound(
        f"Project {id} is not known to Cytoloop; attach it with "
        f"`cytoloop connect --project {id}`, or press Validate and Save in its settings, Model."
    )


def _lacks_what_is_referred_to(error: IntegrityError) -> bool:
    codes = (getattr(error.orig, name, None) for name in ("sqlite_errorcode", "sqlstate"))
    return any(code in (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, "23503") for code in codes)


def upsert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return the dialect's INSERT, which has ``on_conflict_do_update`` and ``_nothing``."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def _prepare_sqlite(engine: Engine) -> None:
    if engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()


def revision_of(engine: Engine) -> str | None:
    """Return the newest migration that a database has seen; None if it has no tables of ours."""
    # Checked before importing alembic, which takes half a second that most starts can save.
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def is_of_another(revision: str | None) -> bool:
    """Tell whether a database has seen migrations that this Cytoloop does not have."""
    return revision not in (None, *REVISIONS)


def other_revision(where: str, revision: str | None) -> str:
    """Say which migration a database has seen last, and which this Cytoloop needs."""
    return f"{where} has tables of revision {revision}, this Cytoloop wants {REVISION}"


@contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({ADVISORY_LOCK})"))
            try:
                yield
            finally:
                connection.execute(text(f"SELECT pg_advisory_unlock({ADVISORY_LOCK})"))
    elif engine.url.database:
        with locked(Path(f"{engine.url.database}.lock")):
            yield
    else:
        yield


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Python's sqlite3 opens a transaction only at the first changed row. Tables made before
            # that would stay if the migration is cut off, and the next start would make them again.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
