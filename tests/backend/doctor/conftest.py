from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid
