from __future__ import annotations

import os

import pytest

from model.training.threads import WAIT_POLICY, wait_quietly


def test_threads_wait_quietly_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(WAIT_POLICY, raising=False)
    wait_quietly()
    assert os.environ[WAIT_POLICY] == "PASSIVE"
    monkeypatch.setenv(WAIT_POLICY, "ACTIVE")
    wait_quietly()
    assert os.environ[WAIT_POLICY] == "ACTIVE"
