"""Small real processes, and a report that remembers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.running.processes import Service
from backend.running.supervisor import Supervisor
from tests.conftest import wait_until


class Remembered:
    """A report for tests: what was said, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def starting(self, service: Service) -> None:
        self.lines.append(f"starting {service.name}")

    def ready(self, service: Service, seconds: float) -> None:
        self.lines.append(f"ready {service.name}")

    def restarting(self, service: Service, reason: str, delay_s: float) -> None:
        self.lines.append(f"restarting {service.name}: {reason}")

    def stopping(self, service: Service) -> None:
        self.lines.append(f"stopping {service.name}")


@pytest.fixture
def report() -> Remembered:
    return Remembered()


@pytest.fixture
def supervisor(tmp_path: Path, report: Remembered) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path, tmp_path / "logs", report)
    yield made
    made.stop()


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Service]:
    """Make a service of a shell script that is healthy once it has written its file."""

    def make(
        name: str, script: str = 'echo $$ > "$NAME"; exec sleep 60', **rest: object
    ) -> Service:
        file = tmp_path / name
        return Service(
            name=name,
            label=name.capitalize(),
            command=("sh", "-c", script),
            where=str(file),
            healthy=lambda pid: file.exists() and file.read_text().strip() != "",
            environment={"NAME": str(file)},
            **rest,
        )

    return make


@pytest.fixture
def written_pid(tmp_path: Path) -> Callable[[str], int]:
    def read(name: str) -> int:
        file = tmp_path / name
        wait_until(lambda: file.read_text().strip() != "")  # it is written anew after a restart
        return int(file.read_text())

    return read


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def ended(pid: int, seconds: float = 50) -> bool:
    """Wait for a process to end, and say whether it did before it would by itself."""
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)
