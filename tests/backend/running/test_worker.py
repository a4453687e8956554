"""The worker as `cytoloop up` runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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
from tests.conftest import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def worker(supervisor, tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("w"))
    supervisor.start([redis_service(settings)])
    process = Process(worker_service(settings), settings.home / "worker.log", settings.home)
    while not process.is_up():
        time.sleep(0.1)
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
    until = time.monotonic() + 10
    while not (found := descendants(worker.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    (job,) = found
    return job


def test_a_job_ends_with_a_worker_that_is_killed(worker, ends):
    job = job_of(worker)
    os.kill(worker.pid, signal.SIGKILL)
    assert ends(job)


def test_a_worker_that_is_told_to_stop_does_not_wait_for_its_job(worker, ends):
    job = job_of(worker)
    began = time.monotonic()
    worker.stop()
    assert ends(job)
    assert time.monotonic() - began < 10
