"""What holds for all tests."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest
import structlog

from model.threads import wait_quietly


def wait_until(reached: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="play what is random at full length")


def pytest_configure() -> None:
    wait_quietly()
    log_plainly()


def log_plainly() -> None:
    """Log as nobody has configured it, but for tracebacks in colours: half a second each."""
    structlog.reset_defaults()
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])


def pytest_collection_finish() -> None:
    """Look for garbage no more in what was loaded by now: it stays until the end."""
    gc.freeze()
