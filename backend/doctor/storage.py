"""Checks what is kept: the database and the versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from backend.doctor.findings import REPORT, START, Finding, Installation, fail, ok, warn
from backend.store.database import ANOTHER, REVISION, is_of_another, other_revision, revision_of
from backend.store.mending import is_damage, mend_of
from backend.store.projects import Project, Projects
from backend.store.runs import Runs
from model.errors import ModelError
from model.keeping.registry import Registry
from model.wording import counted

#: SQLite would replay a leftover log on whatever database file lies beside it.
RESTORE = (
    "Stop the loop, remove {file}-wal and {file}-shm, and put a copy of {file} back; what Label "
    "Studio holds is fetched again."
)


def store(installation: Installation) -> Iterator[Finding]:
    """Check that the database can be read and has this version's tables."""
    url = make_url(installation.settings.database_address)
    where = url.render_as_string(hide_password=True)
    yield from _left_behind(installation, url)
    if _is_missing(installation):
        yield ok("Store", f"{where} is not there yet: cytoloop up makes it")
        return
    engine = create_engine(url)
    try:
        yield from _look(engine, where, installation)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        mend = f"{_mend(url, error)} Or correct CYTOLOOP_DATABASE_URL."
        yield fail("Store", f"{where} cannot be read: {said}", mend)
    finally:
        engine.dispose()


def versions(installation: Installation) -> Iterator[Finding]:
    """Check that every version, and every project's champion, can be read."""
    registry = installation.settings.open_registry()
    found = [
        warn("Versions", str(error), "Put its folder back from a copy, or remove it.")
        for error in registry.broken()
    ]
    for project in known_projects(installation) or ():
        found += _champion(registry, project.id)
    yield from found or [ok("Versions", f"{len(registry.list())} in {registry.root}")]


def _champion(registry: Registry, project: int) -> Iterator[Finding]:
    """Check a project's champion; it can be rolled back if it is known which one it is."""
    try:
        registry.champion_id(str(project))
    except ModelError as error:
        yield fail("Versions", f"which version serves project {project} is unknown", str(error))
        return
    try:
        registry.champion(str(project))
    except ModelError as error:
        yield fail(
            "Versions",
            f"the champion of project {project} cannot be read: {error}",
            f"cytoloop models rollback --project {project}",
        )


def known_projects(installation: Installation) -> list[Project] | None:
    """Return the projects in the store; None if it cannot be read as it is."""
    if _is_missing(installation):
        return []
    engine = create_engine(installation.settings.database_address)
    try:
        if revision_of(engine) != REVISION:
            return None
        return Projects(engine, installation.settings).all()
    except SQLAlchemyError:
        return None  # the check of the store reports it
    finally:
        engine.dispose()


def _is_missing(installation: Installation) -> bool:
    url = make_url(installation.settings.database_address)
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    return not Path(url.database).exists()  # connecting would make it


def _left_behind(installation: Installation, url: URL) -> Iterator[Finding]:
    """Report a database in the home that is not in use."""
    file = installation.settings.database_file
    named = Path((url.database or "").removeprefix("file:"))
    if file.exists() and not (named.exists() and named.samefile(file)):
        yield warn(
            "Store",
            f"{file} is not read: CYTOLOOP_DATABASE_URL names another, and nothing was taken along",
            "For its projects, stop the loop and unset CYTOLOOP_DATABASE_URL; else move it away.",
        )


def _look(engine: Engine, where: str, installation: Installation) -> Iterator[Finding]:
    revision = revision_of(engine)
    if is_of_another(revision):
        yield fail("Store", other_revision(where, revision), ANOTHER)
        return
    if revision != REVISION:
        yield warn("Store", f"{where} lacks tables that the next start makes", START)
        return
    if engine.dialect.name == "sqlite" and (damage := _damage(engine)):
        yield fail("Store", f"{where} is damaged: {damage}", _restore(engine.url))
        return
    projects = len(Projects(engine, installation.settings))
    active = sum(run.is_active for run in Runs(engine).all())
    waiting = f", {active} waiting or running" if active else ""
    yield ok("Store", f"{where}, revision {revision}: {counted(projects, 'project')}{waiting}")


def _mend(url: URL, error: SQLAlchemyError) -> str:
    if url.get_backend_name() != "sqlite":
        return "Is the database running?"
    return _restore(url) if is_damage(error) else mend_of(error) or REPORT


def _restore(url: URL) -> str:
    return RESTORE.format(file=url.database)


def _damage(engine: Engine) -> str:
    with closing(engine.connect()) as connection:
        said = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    return "" if said == "ok" else str(said)
