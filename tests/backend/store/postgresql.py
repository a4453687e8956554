"""A PostgreSQL of the tests' own, which no network sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine, text

from backend.store.database import open_database

_EMPTY = "empty"


class PostgreSQL:
    """A server that runs, with a database of all tables and nothing in them.

    Parameters
    ----------
    socket
        The folder of its socket.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._create(_EMPTY)
        open_database(self._url(_EMPTY)).dispose()

    def new_database(self, tables: bool = True) -> str:
        """Make a database, of all tables or of none, and return its address."""
        name = f"store{next(self._numbers)}"
        self._create(f"{name} TEMPLATE {_EMPTY}" if tables else name)
        return self._url(name)

    def _create(self, what: str) -> None:
        server = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {what}"))
        server.dispose()

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://lab@/{name}?host={self._socket}"


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; None where it is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextmanager
def running(binaries: Path) -> Iterator[PostgreSQL]:
    """Run a server in a folder of its own; root runs it as the user that Debian made for it."""
    with tempfile.TemporaryDirectory(prefix="cytoloop-") as folder:
        as_user: list[str] = []
        if os.geteuid() == 0:
            as_user = ["runuser", "-u", "postgres", "--"]
            shutil.chown(folder, "postgres")

        def run(program: str, *arguments: str) -> None:
            command = [*as_user, str(binaries / program), "-D", f"{folder}/data", *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)

        run("initdb", "--auth", "trust", "--username", "lab", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield PostgreSQL(Path(folder))
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
