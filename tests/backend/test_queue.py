from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from rq import Queue, Worker
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from backend.credentials import Credentials
from backend.errors import QueueError
from backend.queue import JobQueue
from backend.running.redis import redis_server
from backend.services import Services
from tests.backend.conftest import CREDENTIALS, LEARN, PUSH
from tests.conftest import wait_until


@pytest.fixture
def connection(services: Services) -> Redis:
    return Redis.from_url(services.settings.redis_address)


def test_a_job_names_ids_alone_and_may_take_its_time(services: Services, connection: Redis) -> None:
    services.queue.enqueue_learn(7)
    services.queue.enqueue_push(1, "trained-1")
    learn, push = (
        Queue(name, connection=connection, serializer=JSONSerializer).jobs[0]
        for name in (LEARN, PUSH)
    )
    assert (learn.id, learn.func_name, learn.args) == (f"{LEARN}-7", "backend.jobs.learn", [7])
    assert (push.func_name, push.args) == ("backend.jobs.push", [1, "trained-1"])
    assert learn.timeout == services.settings.job_timeout_s


def test_a_job_that_waits_is_not_queued_again(services: Services, connection: Redis) -> None:
    for _ in range(3):
        services.queue.enqueue_learn(7)
    assert connection.llen(f"rq:queue:{LEARN}") == 1
    assert services.queue.is_live(7)
    assert not services.queue.is_live(8)


def test_a_job_that_failed_may_be_queued_again(services: Services, connection: Redis) -> None:
    services.queue.enqueue_learn(7)
    connection.delete(f"rq:queue:{LEARN}")
    job = Job.fetch(f"{LEARN}-7", connection=connection, serializer=JSONSerializer)
    job.set_status(JobStatus.FAILED)
    assert not services.queue.is_live(7)
    services.queue.enqueue_learn(7)
    assert connection.lrange(f"rq:queue:{LEARN}", 0, -1) == [f"{LEARN}-7".encode()]


@pytest.mark.integration
def test_web_and_worker_that_queue_a_failed_job_at_once_queue_it_once(
    services: Services, connection: Redis
) -> None:
    with ThreadPoolExecutor(8) as threads:
        for _ in range(50):
            services.queue.enqueue_learn(7)
            connection.delete(f"rq:queue:{LEARN}")
            job = Job.fetch(f"{LEARN}-7", connection=connection, serializer=JSONSerializer)
            job.set_status(JobStatus.FAILED)
            list(threads.map(services.queue.enqueue_learn, [7] * 8))
            assert connection.lrange(f"rq:queue:{LEARN}", 0, -1) == [f"{LEARN}-7".encode()]


def test_a_redis_that_is_away_is_named_without_its_password() -> None:
    queue = JobQueue("redis://:hunter2@127.0.0.1:1/0", 60, "")
    with pytest.raises(QueueError, match=r"redis://127.0.0.1:1/0 could not be reached") as caught:
        queue.enqueue_learn(1)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(QueueError):
        queue.is_live(1)


def test_a_redis_that_hangs_counts_as_away(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.queue.ANSWER_S", 0.3)
    socket_path = tmp_path_factory.mktemp("r") / "r.sock"
    options = ("--port", "0", "--unixsocket", str(socket_path), "--save", "")
    server = subprocess.Popen(
        [redis_server(), *options], cwd=socket_path.parent, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(socket_path.exists)
        queue = JobQueue(f"unix://{socket_path}", 60, "")
        assert not queue.is_live(7)
        server.send_signal(signal.SIGSTOP)
        with pytest.raises(QueueError, match="could not be reached"):
            queue.enqueue_learn(7)
    finally:
        server.kill()
        server.wait()


def test_a_lock_left_by_a_killed_process_keeps_no_webhook_waiting(
    services: Services, connection: Redis
) -> None:
    connection.set(f"cytoloop:jobs:{CREDENTIALS.home_id}", "of a killed process", ex=60)
    with pytest.raises(QueueError, match="is kept, and queued by the next look"):
        services.queue.enqueue_learn(7)
    connection.delete(f"cytoloop:jobs:{CREDENTIALS.home_id}")
    services.queue.enqueue_learn(7)
    assert services.queue.is_live(7)


def begin_job(connection: Redis, hostname: str, pid: int) -> str:
    """Let a worker begin the job that waits longest; return its entry among those begun."""
    queue = Queue(LEARN, connection=connection, serializer=JSONSerializer)
    worker = Worker([queue], connection=connection, serializer=JSONSerializer)
    worker.hostname, worker.pid = hostname, pid
    worker.register_birth()
    job = queue.jobs[0]
    connection.lpop(f"rq:queue:{LEARN}")
    execution = worker.prepare_execution(job)
    worker.set_state("busy")
    worker.prepare_job_execution(job)
    connection.hset(worker.key, mapping={"hostname": hostname, "pid": pid})
    return execution.composite_key


def test_the_job_of_a_dead_worker_is_not_live_after_the_reaper(
    services: Services, connection: Redis, dead_pid: int
) -> None:
    services.queue.enqueue_learn(7)
    begin_job(connection, socket.gethostname(), dead_pid)
    assert services.queue.is_live(7)
    services.queue.reap()
    assert not services.queue.is_live(7)
    assert Worker.all(connection=connection) == []


def test_the_reaper_waits_for_the_lock_of_a_killed_process(
    services: Services, connection: Redis, dead_pid: int
) -> None:
    services.queue.enqueue_learn(7)
    begin_job(connection, socket.gethostname(), dead_pid)
    lock = f"cytoloop:jobs:{CREDENTIALS.home_id}"
    connection.set(lock, "of a killed process", px=1000)
    held = [connection.exists(lock)]
    services.queue.reap()
    held.append(connection.exists(lock))
    assert held == [1, 0]
    assert not services.queue.is_live(7)


def test_the_job_of_a_dead_worker_is_found_while_another_worker_is_busy(
    services: Services, connection: Redis, dead_pid: int
) -> None:
    for run, pid in ((7, dead_pid), (8, os.getpid())):
        services.queue.enqueue_learn(run)
        begin_job(connection, socket.gethostname(), pid)
    services.queue.reap()
    assert not services.queue.is_live(7)
    assert services.queue.is_live(8)


def test_the_job_of_a_worker_that_fell_silent_may_be_queued_again(
    services: Services, connection: Redis
) -> None:
    services.queue.enqueue_learn(7)
    begun = begin_job(connection, "a-host-that-is-gone", 1)
    assert services.queue.is_live(7)
    should_have_been_heard_of = time.time() - 1
    connection.zadd(f"rq:wip:{LEARN}", {begun: should_have_been_heard_of})
    assert not services.queue.is_live(7)
    services.queue.enqueue_learn(7)
    assert connection.lrange(f"rq:queue:{LEARN}", 0, -1) == [f"{LEARN}-7".encode()]


def test_a_job_that_a_worker_took_and_was_killed_before_it_said_so_is_not_live_after_the_reaper(
    services: Services, connection: Redis
) -> None:
    for run in (7, 8):
        services.queue.enqueue_learn(run)
    assert connection.lpop(f"rq:queue:{LEARN}") == f"{LEARN}-7".encode()
    services.queue.reap()
    assert not services.queue.is_live(7)
    assert services.queue.is_live(8)


def test_the_reaper_leaves_the_jobs_of_whoever_shares_the_redis(
    services: Services, connection: Redis
) -> None:
    theirs = Queue("default", connection=connection).enqueue("os.getpid", job_id="export-42")
    services.queue.reap()
    assert theirs.get_status() == JobStatus.QUEUED
    assert connection.lrange("rq:queue:default", 0, -1) == [b"export-42"]


def test_homes_that_share_a_redis_share_no_jobs(services: Services) -> None:
    theirs = JobQueue(services.settings.redis_address, 60, Credentials().home_id)
    services.queue.enqueue_learn(7)
    assert not theirs.is_live(7)
    theirs.enqueue_learn(7)
    assert theirs.enqueue_push(1, "trained-1")
    assert services.queue.enqueue_push(1, "trained-1")
    theirs.drop_learn(7)
    theirs.reap()
    assert services.queue.is_live(7)


@pytest.mark.parametrize("hostname", ["another-host", socket.gethostname()])
def test_a_worker_that_lives_keeps_its_job(
    services: Services, connection: Redis, hostname: str
) -> None:
    services.queue.enqueue_learn(7)
    begin_job(connection, hostname, os.getpid())
    services.queue.reap()
    assert services.queue.is_live(7)
