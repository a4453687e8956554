from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backend import jobs
from tests.conftest import log_plainly


@pytest.mark.parametrize(
    "ended",
    [
        jobs.queue_waiting,
        lambda: jobs.record_killed(1, "SIGKILL"),
        lambda: jobs.record_stopped(1),
    ],
)
def test_a_store_that_cannot_be_opened_when_a_job_ends_does_not_end_the_worker(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ended: Callable[[], None],
) -> None:
    log_plainly()  # whatever a test before this one has set
    (tmp_path / "cytoloop.db").mkdir()
    monkeypatch.setenv("CYTOLOOP_HOME", str(tmp_path))
    ended()
    told = capsys.readouterr()
    assert "cytoloop.db cannot be opened" in told.out + told.err
