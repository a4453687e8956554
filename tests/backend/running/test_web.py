"""The web process as `cytoloop up` runs it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from backend.doctor.findings import Patient
from backend.running.lock import hold
from backend.running.ours import web_service
from backend.running.status import status_of
from backend.running.supervisor import Supervisor
from backend.services import Services
from backend.settings import Settings


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
    return [web.answers, Patient(settings).web_answers]


def test_where_up_runs_the_web_process_is_asked_here_whatever_address_label_studio_has(
    services: Services, healthy_port: int
) -> None:
    told = {"port": healthy_port, "backend_url": "http://127.0.0.1:9"}
    settings = services.settings.model_copy(update=told)
    with hold(settings.home, "http://studio", settings.backend_address):
        assert web_answers(services, settings) == [True, True]
    assert web_answers(services, settings) == [False, False]


@pytest.mark.integration
def test_a_web_process_that_ends_leaves_the_whole_store_in_its_file(
    supervisor: Supervisor, settings: Settings
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = settings.model_copy(update={"port": probe.getsockname()[1]})
    log = free.home / "cytoloop.db-wal"
    free.home.mkdir()
    supervisor.start([web_service(free)])
    assert log.exists()
    supervisor.stop()
    assert not log.exists()
