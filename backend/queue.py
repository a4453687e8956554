"""Jobs on Redis by RQ: ids in, nothing out; the truth about runs is in the store."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from types import FrameType
from typing import Any

from redis import Redis
from redis.exceptions import LockError, RedisError
from rq import Queue, Worker
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from backend.errors import QueueError
from backend.orphans import die_with_parent
from backend.pids import is_running

LEARN, PUSH = "learn", "push"
#: Seconds after which a Redis that does not answer counts as away.
ANSWER_S = 2.0
#: Seconds after which a killed process's lock is free, how long queueing a job waits for the lock
#: (a webhook must be answered), and how often it looks.
LOCK_S, WAIT_S, LOCK_POLL_S = 5.0, 0.8, 0.005
KEPT = "What was to be queued is kept, and queued by the next look or correction."
LIVE = (JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED, JobStatus.SCHEDULED)


class JobQueue:
    """The two queues: ``learn``, and after it ``push``.

    Parameters
    ----------
    redis_url
        ``redis://…`` or ``unix://…``; not used before it is needed.
    job_timeout_s
        Seconds after which a training is stopped; RQ's own default would be 180.
    home_id
        The home of these jobs: other homes may share the Redis.
    """

    def __init__(self, redis_url: str, job_timeout_s: int, home_id: str) -> None:
        self._url = redis_url
        self._timeout_s = job_timeout_s
        self._home_id = home_id

    def enqueue_learn(self, run_id: int) -> None:
        """Queue a run, unless it already waits or is worked on.

        Raises
        ------
        QueueError
            Redis cannot be reached, or another process holds the lock on its jobs.
        """
        self._enqueue(LEARN, self._learn(run_id), run_id)

    def drop_learn(self, run_id: int) -> None:
        """Forget the job of a run whose process died, left by a dead worker of another host."""
        with self._changing():
            self._forget(self._learn(run_id))

    def enqueue_push(self, project: int, version_id: str) -> bool:
        """Queue the predictions of a new champion for the tasks that nobody has labelled.

        Returns
        -------
        False if that already waits or is worked on.
        """
        job_id = f"{name_in(self._home_id, PUSH)}-{project}-{version_id}"
        return self._enqueue(PUSH, job_id, project, version_id)

    def is_live(self, run_id: int) -> bool:
        """Return whether a run's job waits or is worked on.

        A job no longer counts as worked on if its worker has been silent for a minute and a half,
        for example because its host is down.
        """
        with self._reaching():
            return self._is_live(self._learn(run_id))

    def reap(self) -> None:
        """Register this host's dead workers as dead, and forget the jobs that they left behind.

        RQ itself takes minutes to notice a worker that was killed together with its job.
        """
        with self._changing(2 * LOCK_S):
            # In this order a job that is taken meanwhile is seen waiting, or at work, or both.
            waiting = {job_id for queue in self._queues.values() for job_id in queue.job_ids}
            workers = Worker.all(connection=self._redis, serializer=JSONSerializer)
            at_work = {worker.get_current_job_id() for worker in workers if not _buried(worker)}
            self._forget_all_but(waiting | at_work)

    def run_worker(
        self,
        burst: bool = False,
        on_killed: Callable[[int, str], None] | None = None,
        on_stopped: Callable[[int], None] | None = None,
        on_ended: Callable[[], None] | None = None,
    ) -> None:
        """Work until told to stop. Call ``backend.jobs.run_worker`` instead, which reaps first.

        Each job runs in a process of its own. This process never imports torch, so that CUDA starts
        clean in the job and its memory is freed when the job ends.

        Parameters
        ----------
        burst
            Stop once nothing waits.
        on_killed
            Called with the run whose process was killed, and how, once its job has failed.
        on_stopped
            Called with the run whose process ended because the worker was told to stop.
        on_ended
            Called after each other run, once its job is gone.
        """
        with self._reaching():
            worker = _Worker(
                list(self._queues.values()),
                connection=self._redis,
                serializer=JSONSerializer,
                log_job_description=False,
                work_horse_killed_handler=lambda job, pid, status, usage: worker.note(status),
            )
            worker.on_killed, worker.on_stopped, worker.on_ended = on_killed, on_stopped, on_ended
            worker.work(burst=burst, logging_level=None)

    @cached_property
    def _redis(self) -> Redis:
        return Redis.from_url(self._url, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S)

    @cached_property
    def _queues(self) -> dict[str, Queue]:
        """The queues by kind, in the order in which they are worked on."""
        return {
            kind: Queue(
                name_in(self._home_id, kind),
                connection=self._redis,
                serializer=JSONSerializer,
                default_timeout=self._timeout_s,
            )
            for kind in (LEARN, PUSH)
        }

    def _learn(self, run_id: int) -> str:
        return f"{name_in(self._home_id, LEARN)}-{run_id}"

    def _enqueue(self, kind: str, job_id: str, *args: int | str) -> bool:
        with self._changing():
            if self._is_live(job_id):
                return False
            self._forget(job_id)  # what remains of an earlier attempt
            self._queues[kind].enqueue_call(_door(kind), args=args, job_id=job_id, result_ttl=0)
            return True

    def _is_live(self, job_id: str) -> bool:
        # The status as fetched: if refreshed, the job may be gone.
        job = self._job(job_id)
        if job is None or job.get_status(refresh=False) not in LIVE:
            return False
        return job_id not in job.started_job_registry.get_expired_job_ids()

    def _forget(self, job_id: str) -> None:
        with suppress(InvalidJobOperation):  # RQ has just forgotten it
            if job := self._job(job_id):
                job.delete()

    def _forget_all_but(self, kept: Container[str | None]) -> None:
        """Forget the jobs of these queues that count as live but are not in ``kept``.

        One such job is one that a worker took from its queue before it was killed: it still counts
        as waiting, and nobody else would ever find it.
        """
        for job_id in self._job_ids():
            if job_id not in kept and self._is_live(job_id):
                self._forget(job_id)

    def _job_ids(self) -> Iterator[str]:
        """Yield the ids of our jobs, whatever became of them; Redis may hold others' as well."""
        prefix = Job.redis_job_namespace_prefix
        for queue in self._queues.values():
            for key in self._redis.scan_iter(f"{prefix}{queue.name}-*"):
                yield key.decode().removeprefix(prefix)

    def _job(self, job_id: str) -> Job | None:
        try:
            return Job.fetch(job_id, connection=self._redis, serializer=JSONSerializer)
        except NoSuchJobError:
            return None

    @contextmanager
    def _changing(self, wait_s: float = WAIT_S) -> Iterator[None]:
        """Let only one process at a time (web, worker or job) look at a job and queue it."""
        lock = self._redis.lock(
            f"cytoloop:jobs:{self._home_id}",
            LOCK_S,
            sleep=LOCK_POLL_S,
            blocking_timeout=wait_s,
            raise_on_release_error=False,  # the work is done, if slowly
        )
        with self._reaching(), lock:
            yield

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except LockError as error:
            raise QueueError(
                "Another process holds the jobs in Redis, or was killed while it did; they are "
                f"free again within {LOCK_S:.0f} seconds. {KEPT}"
            ) from error
        except RedisError as error:
            raise QueueError(
                f"Redis at {without_password(self._url)} could not be reached ({error}). Is it "
                f"running? {KEPT}"
            ) from error


class _Worker(Worker):
    """A worker that stops at once when told to; its run is taken up again at the next start."""

    on_killed: Callable[[int, str], None] | None = None
    on_stopped: Callable[[int], None] | None = None
    on_ended: Callable[[], None] | None = None
    _killed = ""

    def note(self, status: int | None) -> None:
        """Keep how a job's process was killed, until RQ is done with the job."""
        self._killed = _how(status)

    def monitor_work_horse(self, job: Job, *rest: Any) -> None:
        try:
            super().monitor_work_horse(job, *rest)
        except SystemExit:
            if self.on_stopped and job.func_name == _door(LEARN):
                self.on_stopped(job.args[0])
            raise
        how, self._killed = self._killed, ""
        # Not in RQ's own handler: there the job still counts as worked on and cannot be queued.
        if job.func_name != _door(LEARN):
            return
        if how and self.on_killed:
            self.on_killed(job.args[0], how)
        elif self.on_ended:
            self.on_ended()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        if self.horse_pid:
            self.kill_horse()
            self.wait_for_horse()
        self._stop_requested = True
        raise SystemExit(0)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Work on a job, and stop if this worker is killed: the run is taken up again."""
        die_with_parent(signal.SIGKILL, self.pid or os.getppid())
        super().main_work_horse(job, queue)


def name_in(home_id: str, kind: str) -> str:
    """Return the name of a home's queue; the ids of its jobs begin with it."""
    return f"{home_id}-{kind}"


def _door(kind: str) -> str:
    return f"backend.jobs.{kind}"


def _how(status: int | None) -> str:
    if status is None:
        return "for reasons unknown"
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit status {os.waitstatus_to_exitcode(status)}"


def _buried(worker: BaseWorker) -> bool:
    """Register the death of a worker of this host whose process is gone; tell if it is."""
    if worker.hostname != socket.gethostname() or is_running(worker.pid):
        return False
    worker.register_death()  # type: ignore[no-untyped-call]
    return True


def without_password(url: str) -> str:
    """Return an address that may be shown and logged."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
