from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.services import build_services
from backend.settings import Settings
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
