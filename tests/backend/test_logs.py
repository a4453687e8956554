from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from backend.logs import configure_logging
from tests.conftest import log_plainly


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    log_plainly()


def test_what_may_hold_a_secret_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    log = structlog.get_logger("backend.http")
    log.info(
        "setup", project=4, access_token="abc123", body={"x": "abc123"}, Authorization="abc123"
    )
    said = capsys.readouterr().err
    assert "project=4" in said
    assert said.count("(hidden)") == 3
    assert "abc123" not in said


def test_libraries_log_in_the_same_form_and_chatter_is_dropped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("INFO")
    logging.getLogger("rq.worker").warning("Worker %s: cold shut down", "w1")
    logging.getLogger("urllib3.connectionpool").info("chatter")
    structlog.get_logger().debug("too fine")
    said = capsys.readouterr().err
    assert "Worker w1: cold shut down" in said
    assert len(said.splitlines()) == 1


def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    password = "hunter2"
    try:
        raise RuntimeError(f"wrong length {len(password)}")
    except RuntimeError:
        structlog.get_logger().exception("run.failed", run=1)
    said = capsys.readouterr().err
    assert "RuntimeError: wrong length 7" in said
    assert "hunter2" not in said
