"""What holds for all tests."""

from __future__ import annotations

from model.threads import wait_quietly


def pytest_configure() -> None:
    wait_quietly()
