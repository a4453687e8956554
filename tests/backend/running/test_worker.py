"""The worker as `cytoloop up` runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from backend.credentials import Credentials
from backend.pids import descendants
from backend.queue import name_in
from backend.running.ours import worker_service
from backend.running.processes import Process
from backend.running.redis import redis_service
from backend.settings import Settings
from tests.backend.running.conftest import ended
from tests.conftest import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def worker(supervisor, tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("w"))
    supervisor.start([redis_service(settings)])
    service = replace(worker_service(settings), grace_s=50.0)  # less than its job takes
    process = Process(service, settings.home / "worker.log", settings.home)
    wait_until(process.is_up)
    with Redis.from_url(settings.redis_address) as connection:
        learn = name_in(Credentials.load_or_create(settings).home_id, "learn")
        queue = Queue(learn, connection=connection, serializer=JSONSerializer)
        queue.enqueue_call("time.sleep", args=(60,))
        yield process
    process.stop()


def test_a_worker_alone_works_in_the_home_that_it_is_told(supervisor, tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("w"))
    supervisor.start([redis_service(settings)])
    command = (Path(sys.executable).with_name("cytoloop"), "worker", "--home", settings.home.name)
    worker = subprocess.Popen(command, cwd=settings.home.parent)
    try:
        with Redis.from_url(settings.redis_address) as connection:
            learn = name_in(Credentials.load_or_create(settings).home_id, "learn")
            queue = Queue(learn, connection=connection, serializer=JSONSerializer)
            job = queue.enqueue_call("os.getenv", args=("CYTOLOOP_HOME",))
            wait_until(lambda: job.is_finished, seconds=60)
            assert job.return_value() == str(settings.home)
    finally:
        worker.terminate()
        worker.wait(20)


def job_of(worker: Process) -> int:
    wait_until(lambda: bool(descendants(worker.pid)))
    (job,) = descendants(worker.pid)
    return job


def test_a_job_ends_with_a_worker_that_is_killed(worker):
    job = job_of(worker)
    os.kill(worker.pid, signal.SIGKILL)
    assert ended(job)


def test_a_worker_that_is_told_to_stop_does_not_wait_for_its_job(worker):
    job = job_of(worker)
    worker.stop()
    assert ended(job)
    assert worker.exit_code == 0
