from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from backend.labelstudio.annotation import Annotation
from backend.settings import Settings
from backend.store.database import open_database
from backend.store.projects import Projects
from tests.backend.conftest import LABEL_CONFIG
from tests.backend.store.postgresql import PostgreSQL


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def url(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> str:
    """The address of a database with all tables and nothing in them."""
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("server")
        return server.new_database()
    shutil.copy(empty_database, tmp_path / "cytoloop.db")
    return f"sqlite:///{tmp_path / 'cytoloop.db'}"


@pytest.fixture
def engine(url: str, tmp_path: Path) -> Iterator[Engine]:
    """A store with one project, 1, of the classes Cell and Debris."""
    opened = open_database(url)
    Projects(opened, Settings(home=tmp_path)).ensure(1, "proj1", LABEL_CONFIG)
    yield opened
    opened.dispose()


@pytest.fixture
def annotated() -> Any:
    """Return a maker of annotations: of a task, submitted at a minute."""

    def make(
        id: int, task: int, minute: int = 0, labels: tuple[str, ...] = ("Cell",), **fields: Any
    ) -> Annotation:
        at = datetime(2026, 11, 24, 12, tzinfo=UTC) + timedelta(minutes=minute)
        result = tuple(
            {"id": f"r{n}", "type": "rectanglelabels", "value": {"rectanglelabels": [label]}}
            for n, label in enumerate(labels)
        )
        defaults = {"project": 1, "result": result, "created_at": at, "updated_at": at}
        return Annotation(id=id, task=task, **{**defaults, **fields})

    return make
