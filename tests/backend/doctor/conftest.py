from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import pytest

from backend.doctor.findings import Finding


def only(findings: Iterable[Finding]) -> Finding:
    (found,) = findings
    return found


@pytest.fixture(scope="session")
def dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid
