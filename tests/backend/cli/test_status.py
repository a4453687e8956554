from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import requests
from flask import Flask
from redis import Redis
from rq import Queue, Worker
from werkzeug.serving import make_server

from backend.app import create_app
from backend.credentials import Credentials
from backend.http.parts import EXTENSION
from backend.labelstudio.client import SECRET_HEADER
from backend.queue import name_in
from backend.running import status
from backend.services import build_services
from backend.settings import Settings
from model.classical.detector import CLASSICAL_ID
from tests.backend.cli.conftest import Run
from tests.backend.conftest import LABEL_CONFIG


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_status_says_what_is_away_and_shows_no_password(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    home.mkdir()
    monkeypatch.setenv("CYTOLOOP_REDIS_URL", "redis://lab:hunter2@127.0.0.1:1/0")
    result = run("status", *words)
    assert result.exit_code == 0, result.output
    assert "redis://127.0.0.1:1/0" in result.stdout
    assert "hunter2" not in result.output


def test_a_program_reads_the_status(run: Run, home: Path) -> None:
    home.mkdir()
    found = json.loads(run("status", "--json").stdout)
    assert {service["name"] for service in found["services"] if not service["answers"]} >= {"Redis"}
    assert found["projects"] == []


def test_a_run_has_one_line_of_what_it_said(run: Run, home: Path) -> None:
    services = build_services(Settings(home=home))
    services.projects.ensure(1, "proj1", LABEL_CONFIG)
    opened = services.runs.open(1, 5, "milestone")
    assert opened is not None
    services.runs.finish(opened.id, "refused", "Not better.\nA note.")
    services.engine.dispose()
    shown = run("status").stdout
    assert shown.endswith(f"  run {opened.id:<6} at 5 images: refused Not better.\n")
    assert "A note." in run("status", "--json").stdout


def test_the_line_of_the_worker_says_how_it_is(
    run: Run, home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        (line,) = [line for line in run("status").stdout.splitlines() if "Worker" in line]
        return line

    home.mkdir()
    assert said() == "✗ Worker        unknown, since Redis does not answer"
    monkeypatch.setenv("CYTOLOOP_REDIS_URL", settings.redis_address)
    assert said() == "✗ Worker        none: corrections are kept, but nothing learns"
    learn = name_in(Credentials.load_or_create(Settings(home=home)).home_id, "learn")
    with Redis.from_url(settings.redis_address) as connection:
        Worker([Queue(learn, connection=connection)], connection=connection).register_birth()
    assert said() == "✓ Worker        alive"


@contextmanager
def web_process(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The web process of a home with a project, where the command asks for one."""
    services = build_services(Settings(home=home, first_version=CLASSICAL_ID))
    services.projects.ensure(1, "proj1", LABEL_CONFIG)
    app = create_app(services)
    with make_server("127.0.0.1", 0, app) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("CYTOLOOP_PORT", str(server.server_port))
        try:
            yield app
        finally:
            server.shutdown()
    app.extensions[EXTENSION].slot.close()
    services.engine.dispose()


def test_what_the_web_process_finds_wrong_with_a_project_is_told_till_it_is_mended(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_process(home, monkeypatch) as app:
        secret = app.extensions[EXTENSION].services.credentials.webhook_secret

        def shown(label_config: str) -> str:
            described = {"id": 1, "title": "proj1", "label_config": label_config}
            event = {"action": "PROJECT_UPDATED", "project": described}
            app.test_client().post("/webhook", json=event, headers={SECRET_HEADER: secret})
            return run("status").stdout

        assert "  problem    The label_config draws no boxes on an image. " in shown("<View/>")
        (told,) = json.loads(run("status", "--json").stdout)["projects"]
        assert told["problem"].endswith("Until then Cytoloop goes on with the one of before.")
        assert "problem" not in shown(LABEL_CONFIG)


def test_a_web_process_of_another_home_tells_nothing_of_a_project(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_process(tmp_path / "another", monkeypatch):
        services = build_services(Settings(home=home))
        services.projects.ensure(1, "proj1", LABEL_CONFIG)
        services.engine.dispose()
        assert "  problem    cannot be told: 401 " in run("status").stdout


def test_a_web_process_that_is_too_slow_is_waited_for_once_however_many_projects_there_are(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = build_services(Settings(home=home))
    for project in (1, 2, 3):
        services.projects.ensure(project, f"proj{project}", LABEL_CONFIG)
    services.engine.dispose()
    asked = []

    def late(url: str, which: dict[str, int], **_: object) -> requests.Response:
        asked.append(which["project"])
        raise requests.ReadTimeout("read timeout=10.0")

    monkeypatch.setattr(status, "answers", lambda url: True)
    monkeypatch.setattr(requests, "get", late)
    shown = run("status").stdout
    assert shown.count("  problem    cannot be told: read timeout=10.0\n") == 3
    assert asked == [1]
