"""The web process under load, a process of its own; `python -m benchmarks.load` asks for more."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.load import load

REQUESTS, PROMOTIONS = 600, 10


@pytest.mark.integration
def test_no_answer_is_lost_or_mixes_versions_while_ten_are_promoted(tmp_path: Path) -> None:
    outcome = load(tmp_path, REQUESTS, PROMOTIONS, clients=4)
    assert outcome.problems == []
    assert len(outcome.seconds) == REQUESTS
    # A version is loaded while the one before answers; between two promotions there is time for it.
    assert len(outcome.served) > 2
