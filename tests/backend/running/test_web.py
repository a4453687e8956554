"""The web process as `cytoloop up` runs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from backend.doctor.findings import Installation
from backend.running.http import answers
from backend.running.lock import hold
from backend.running.ours import web_service
from backend.running.status import status_of
from backend.running.supervisor import Report, Supervisor
from backend.services import Services
from backend.settings import Settings
from tests.conftest import wait_until


class Healthy(BaseHTTPRequestHandler):
    """Stands where the web process would."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def healthy_port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def web_answers(services: Services, settings: Settings) -> list[bool]:
    """Return whether the status, and the doctor, find that the web process answers."""
    services.__dict__["settings"] = settings
    web = next(each for each in status_of(services).services if each.name == "Cytoloop")
    return [web.answers, Installation(settings).web_answers]


def test_where_up_runs_the_web_process_is_asked_here_whatever_address_label_studio_has(
    services: Services, healthy_port: int
) -> None:
    told = {"port": healthy_port, "backend_url": "http://127.0.0.1:9"}
    settings = services.settings.model_copy(update=told)
    with hold(settings.home, "http://studio", settings.backend_address):
        assert web_answers(services, settings) == [True, True]
    assert web_answers(services, settings) == [False, False]


@pytest.fixture
def free(settings: Settings) -> Settings:
    """Settings of a home that is there, with a free port."""
    settings.home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return settings.model_copy(update={"port": probe.getsockname()[1]})


@pytest.mark.integration
def test_a_web_process_that_ends_leaves_the_whole_store_in_its_file(
    supervisor: Supervisor, free: Settings
) -> None:
    log = free.home / "cytoloop.db-wal"
    supervisor.start([web_service(free)])
    assert log.exists()
    supervisor.stop()
    assert not log.exists()


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder with modules of the names of ours, and a configuration of gunicorn's."""
    folder = tmp_path / "foreign"
    for name in ("backend", "model"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('not the right one')")
    (folder / "gunicorn.conf.py").write_text("bind = raise_an_error()")
    return folder


@pytest.mark.integration
def test_up_runs_our_own_web_process_whatever_lies_in_the_home(
    foreign: Path, free: Settings, report: Report
) -> None:
    supervisor = Supervisor(foreign, foreign / "logs", report)
    try:
        supervisor.start([web_service(free)])
        assert answers(f"{free.address_here}/health")
        assert (free.home / "cytoloop.db").exists()
    finally:
        supervisor.stop()


@pytest.mark.integration
@pytest.mark.parametrize("options", [(), ("--home", "another-home")])
def test_web_alone_is_our_own_whatever_lies_where_it_is_called(
    foreign: Path, free: Settings, options: tuple[str, ...]
) -> None:
    named = {"HOME": "a-home-that-is-named-from-here", "PORT": str(free.port), "POLL_S": "0"}
    home = options[-1] if options else named["HOME"]
    web = subprocess.Popen(
        [Path(sys.executable).with_name("cytoloop"), "web", *options],
        cwd=foreign,
        env=os.environ | {f"CYTOLOOP_{name}": value for name, value in named.items()},
    )
    try:
        health = f"{free.address_here}/health"
        wait_until(lambda: web.poll() is not None or answers(health), seconds=60)
        assert web.poll() is None
        assert (foreign / home / "cytoloop.db").exists()
    finally:
        web.terminate()
        web.wait(20)
