from __future__ import annotations

import json

import pytest

from tests.backend.cli.conftest import Run


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_status_says_what_is_away_and_shows_no_password(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CYTOLOOP_REDIS_URL", "redis://lab:hunter2@127.0.0.1:1/0")
    result = run("status", *words)
    assert result.exit_code == 0, result.output
    assert "redis://127.0.0.1:1/0" in result.stdout
    assert "hunter2" not in result.output


def test_a_program_reads_the_status(run: Run) -> None:
    found = json.loads(run("status", "--json").stdout)
    assert {service["name"] for service in found["services"] if not service["answers"]} >= {"Redis"}
    assert found["projects"] == []
