"""The worker as it runs: a process of its own, real Redis, real training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from backend.learning.triggers import after_correction
from backend.services import Services
from backend.store.runs import Run
from model.generated.fields import EASY
from tests.backend.conftest import LEARN
from tests.conftest import wait_until

pytestmark = pytest.mark.integration


def environment(services: Services, iterations: int) -> dict[str, str]:
    return {
        **os.environ,
        "CYTOLOOP_HOME": str(services.settings.home),
        "CYTOLOOP_REDIS_URL": services.settings.redis_url,
        "CYTOLOOP_LABEL_STUDIO_URL": services.settings.label_studio_url,
        "CYTOLOOP_ITERATIONS": str(iterations),
        "CYTOLOOP_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }


def work_off(services: Services, iterations: int) -> str:
    """Let a worker do all that waits, and return what it logged."""
    code = "from backend.jobs import run_worker; run_worker(burst=True)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(services, iterations),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return done.stderr


@contextmanager
def working(
    services: Services, log: Path, iterations: int = 100_000
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker, whose training would take hours unless told otherwise."""
    command = [sys.executable, "-m", "backend.jobs"]
    with log.open("wb") as out:
        worker = subprocess.Popen(command, env=environment(services, iterations), stderr=out)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


@contextmanager
def two_working(services: Services, logs: Path, iterations: int = 100_000) -> Iterator[None]:
    """Run two workers, from when both wait for jobs."""
    with (
        working(services, logs / "first.log", iterations),
        working(services, logs / "second.log", iterations),
        Redis.from_url(services.settings.redis_address) as connection,
    ):
        wait_until(lambda: connection.scard(f"rq:workers:{LEARN}") == 2)
        yield


def open_run(services: Services, project: int) -> Run:
    run = after_correction(services, project)
    assert run is not None
    return run


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def is_training(services: Services, run: Run) -> Callable[[], bool]:
    return lambda: services.runs.get(run.id).stage == "training"


def test_doubled_events_make_one_job_one_run_and_one_version(
    services: Services, project: int, correct_fields: Any
) -> None:
    correct_fields(range(5), style=EASY)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: after_correction(services, project), range(8)))
    with Redis.from_url(services.settings.redis_address) as connection:
        assert connection.llen(f"rq:queue:{LEARN}") == 1
    said = work_off(services, iterations=20)
    (run,) = services.runs.all(project)
    assert run.state in ("promoted", "refused"), said
    assert run.decision is not None
    version = services.registry.get(str(run.candidate))
    assert (version.kind, version.classes) == ("trained", ("Cell", "Debris"))
    assert version.decision == run.decision
    trained = [v for v in services.registry.list() if v.kind == "trained"]
    assert [v.id for v in trained] == [version.id]


def test_a_training_whose_process_is_killed_goes_on_in_another(
    services: Services, project: int, correct_fields: Any, tmp_path: Path
) -> None:
    correct_fields(range(5), style=EASY)
    run = open_run(services, project)
    with working(services, tmp_path / "worker.log") as worker:
        wait_until(is_training(services, run))
        (job,) = children_of(worker.pid)
        os.kill(job, signal.SIGKILL)
        wait_until(lambda: services.runs.get(run.id).cut_offs == 1, seconds=20)
        wait_until(is_training(services, run))
        assert children_of(worker.pid) not in ([], [job])
        assert worker.poll() is None


def test_a_worker_told_to_stop_does_so_at_once_and_its_run_is_taken_up_again(
    services: Services, project: int, correct_fields: Any, tmp_path: Path
) -> None:
    correct_fields(range(5), style=EASY)
    run = open_run(services, project)
    with working(services, tmp_path / "worker.log") as worker:
        wait_until(is_training(services, run))
        (job,) = children_of(worker.pid)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=10) == 0
        assert not Path(f"/proc/{job}").exists()
    stopped = services.runs.get(run.id)
    assert (stopped.state, stopped.cut_offs) == ("queued", 0)
    work_off(services, iterations=2)
    assert services.runs.get(run.id).state == "refused"


def test_of_two_milestones_of_a_project_two_workers_make_one_training(
    services: Services, project: int, correct_fields: Any, tmp_path: Path
) -> None:
    with two_working(services, tmp_path, iterations=2):
        for tasks in (range(5), range(5, 10)):
            correct_fields(tasks, style=EASY)
            open_run(services, project)
        wait_until(lambda: services.runs.unfinished() == [])
    assert sorted(run.state for run in services.runs.all()) == ["covered", "refused"]
    assert [v.kind for v in services.registry.list()].count("trained") == 1


def test_a_run_begins_when_the_other_of_its_project_ends_and_has_no_job_before(
    services: Services, project: int, correct_fields: Any, tmp_path: Path
) -> None:
    with two_working(services, tmp_path):
        correct_fields(range(5), style=EASY)
        first = open_run(services, project)
        wait_until(is_training(services, first))
        correct_fields(range(5, 10), style=EASY)
        second = open_run(services, project)
        assert not services.queue.is_live(second.id)
        assert services.runs.cancel(first.id)
        wait_until(is_training(services, second))
