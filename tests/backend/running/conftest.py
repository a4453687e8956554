"""Small real processes, and a report that remembers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.running.processes import Service
from backend.running.supervisor import Supervisor


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
    return lambda name: int((tmp_path / name).read_text())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def ends() -> Callable[[int], bool]:
    """Tell whether a process ends within five seconds."""

    def wait(pid: int) -> bool:
        until = time.monotonic() + 5
        while is_alive(pid) and time.monotonic() < until:
            time.sleep(0.02)
        return not is_alive(pid)

    return wait
