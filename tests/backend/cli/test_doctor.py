from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]


def test_with_nothing_running_the_doctor_says_how_to_start_and_makes_nothing(
    run: Run, home: Path
) -> None:
    result = run("doctor")
    assert result.exit_code == 1
    assert "✓ Packages      cytoloop" in result.stdout
    assert "✗ Redis         unix:///nowhere/redis.sock does not answer" in result.stdout
    assert "→ Start it, or correct CYTOLOOP_REDIS_URL." in result.stdout
    assert not home.exists()


def test_a_program_reads_what_the_doctor_says(run: Run) -> None:
    found = json.loads(run("doctor", "--json").stdout)
    assert all(set(each) == {"about", "level", "says", "mend"} for each in found)
    assert {each["level"] for each in found} >= {"ok", "fail"}


def test_a_setting_that_cannot_be_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYTOLOOP_PORT", "ninety")
    result = run("doctor")
    assert result.exit_code == 1
    assert "CYTOLOOP_PORT" in result.stdout
