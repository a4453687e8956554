from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.installation import free_port
from tests.kills.lab import FULL, SMALL, Lab


@pytest.fixture
def lab(
    pytestconfig: pytest.Config, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    """An installation that runs, with a champion, open tasks, and corrections that open a run."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    scale = FULL if pytestconfig.getoption("soak") else SMALL
    request.node.add_marker(pytest.mark.timeout(20 * scale.patience_s))
    home = Path(tempfile.mkdtemp(prefix="cytoloop-"))  # short: a socket's path is limited
    with Lab.opened(home, free_port(), scale) as lab:
        yield lab
    shutil.rmtree(home)
