"""The web process as `cytoloop up` runs it."""

from __future__ import annotations

import socket

import pytest

from backend.running.ours import web_service
from backend.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def web_settings(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = probe.getsockname()[1]
    return Settings(home=tmp_path, port=free_port)


def test_a_web_process_that_ends_leaves_the_whole_store_in_its_file(supervisor, web_settings):
    log = web_settings.home / "cytoloop.db-wal"
    supervisor.start([web_service(web_settings)])
    assert log.exists()
    supervisor.stop()
    assert not log.exists()
