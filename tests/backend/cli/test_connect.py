from __future__ import annotations

from pathlib import Path

import pytest

from tests.backend.cli.conftest import Run


def test_address_and_token_may_come_from_the_environment_and_what_is_away_is_not_kept(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOLOOP_LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CYTOLOOP_LABEL_STUDIO_TOKEN", "0" * 40)
    result = run("connect", "--project", 7)
    assert result.exit_code == 2
    assert "Label Studio at http://127.0.0.1:9 could not be reached" in result.stderr
    assert not home.exists()


@pytest.mark.parametrize("url", ["http://[x", "notaurl", "ftp://labels.example.org", "http://"])
def test_an_address_that_is_none_is_refused(run: Run, home: Path, url: str) -> None:
    result = run("connect", "--project", 7, "--url", url, "--token", "0" * 40)
    assert result.exit_code == 2
    assert f"--url cannot be '{url}': it is no address such as http://" in result.stderr
    assert not home.exists()


def test_a_home_that_knows_no_label_studio_asks_which(run: Run, home: Path) -> None:
    result = run("connect", "--project", 7)
    assert result.exit_code == 2
    assert "--url https://… --token TOKEN" in result.stderr
    assert not home.exists()
