from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from backend.store.database import open_database
from backend.store.mending import DOCTOR, in_words, is_away, is_damage, mend_of
from tests.backend.conftest import no_room

WRITE = "INSERT INTO annotators (number, name) VALUES ('1', zeroblob(100000))"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cytoloop.db"
    open_database(f"sqlite:///{path}").dispose()
    return path


def error_of(url: str, *statements: str) -> DBAPIError:
    engine = create_engine(url, connect_args={"timeout": 0} if "sqlite" in url else {})
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    except DBAPIError as error:
        return error
    finally:
        engine.dispose()
    raise AssertionError("nothing was wrong")


def test_of_a_database_for_which_there_is_no_room_no_copy_is_asked_for(file: Path) -> None:
    errors = [error_of(f"sqlite:///{file}", "PRAGMA max_page_count = 1", WRITE)]
    with no_room():
        errors.append(error_of(f"sqlite:///{file}", "SELECT * FROM runs"))
    for error in errors:
        assert "make room" in str(mend_of(error))
        assert "leave its files as they are" in str(mend_of(error))
        assert not is_damage(error)


def test_of_a_database_that_may_not_be_written_the_right_is_asked_for(file: Path) -> None:
    for error in (
        error_of(f"sqlite:///{file.parent}", "SELECT 1 FROM runs"),
        error_of(f"sqlite:///file:{file}?mode=ro&uri=true", WRITE),
    ):
        assert "Give the right to write" in str(mend_of(error))
        assert not is_damage(error)


def test_a_database_that_another_process_holds_is_waited_for(file: Path) -> None:
    with closing(sqlite3.connect(file)) as held:
        held.execute("BEGIN IMMEDIATE")
        error = error_of(f"sqlite:///{file}", WRITE)
    assert "wait for that to end" in str(mend_of(error))


def test_only_a_database_that_may_be_back_soon_is_away(file: Path) -> None:
    with closing(sqlite3.connect(file)) as held:
        held.execute("BEGIN IMMEDIATE")
        assert is_away(error_of(f"sqlite:///{file}", WRITE))
    assert is_away(error_of("postgresql+psycopg://lab@127.0.0.1:9/cells", "SELECT 1"))
    with no_room():
        assert not is_away(error_of(f"sqlite:///{file}", "SELECT * FROM runs"))
    assert not is_away(error_of(f"sqlite:///{file}", "SELECT * FROM nowhere"))
    assert not is_away(error_of(f"sqlite:///{file.parent}", "SELECT 1 FROM runs"))
    assert not is_away(ConnectionError("of something else"))


def test_only_what_no_program_is_at_fault_for_is_put_in_words(file: Path) -> None:
    assert in_words(error_of(f"sqlite:///{file}", "SELECT * FROM nowhere")) is None
    assert in_words(ValueError("nothing of a database")) is None
    with closing(sqlite3.connect(file)) as held:
        held.execute("BEGIN IMMEDIATE")
        told = in_words(error_of(f"sqlite:///{file}", WRITE))
    assert str(told).startswith("The database cannot be read or written (database is locked). Anot")
    away = error_of("postgresql+psycopg://lab@127.0.0.1:9/cells", "SELECT 1")
    assert str(in_words(away)).endswith(DOCTOR)


def test_only_what_is_no_whole_database_is_damaged(file: Path, tmp_path: Path) -> None:
    assert not is_damage(error_of(f"sqlite:///{file}", "SELECT * FROM nowhere"))
    (tmp_path / "text.db").write_text("no database " * 100)
    assert is_damage(error_of(f"sqlite:///{tmp_path / 'text.db'}", "SELECT * FROM runs"))
    held = file.read_bytes()
    file.write_bytes(held[:4096] + bytes(len(held) - 4096))
    assert is_damage(error_of(f"sqlite:///{file}", "SELECT * FROM runs"))
