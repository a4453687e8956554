from __future__ import annotations

import os

import pytest

from model.threads import SPINS, WAIT_POLICY, wait_quietly


def test_threads_wait_quietly_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for policy in (None, "ACTIVE"):
        for name in (WAIT_POLICY, SPINS):
            monkeypatch.delenv(name, raising=False)
        if policy:
            monkeypatch.setenv(WAIT_POLICY, policy)
        wait_quietly()
        assert os.environ[WAIT_POLICY] == (policy or "PASSIVE")
        assert (SPINS in os.environ) == (policy is None)
