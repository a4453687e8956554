"""The jobs that RQ runs in the worker; Redis has only ids as their arguments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.errors import BackendError, QueueError
from backend.learning import pipeline
from backend.learning import push as pushing
from backend.learning.triggers import push_champions, requeue_pending, take_up, take_up_killed
from backend.logs import configure_logging
from backend.services import Services, build_services
from model.threads import wait_quietly

log = structlog.get_logger(__name__)

#: How far a job gives way to the web process, which answers waiting annotators.
NICENESS = 10


def learn(run_id: int) -> None:
    """Carry out one run."""
    os.nice(NICENESS)
    with _services() as services, structlog.contextvars.bound_contextvars(run=run_id):
        pipeline.learn(services, run_id)
        _push_on(services)  # a push gave way to this run


def push(project: int, version_id: str) -> None:
    """Give a new champion's boxes to the unlabelled tasks."""
    os.nice(NICENESS)
    with _services() as services, structlog.contextvars.bound_contextvars(project=project):
        pushing.push(services, project, version_id)


def record_killed(run_id: int, how: str) -> None:
    """Make a run whose process was killed go on, or end it if it is killed again and again."""
    try:
        with _services() as services:
            take_up_killed(services, run_id, f"was killed ({how})")
    except (BackendError, SQLAlchemyError) as error:  # the poll takes it up
        log.warning("run.not_queued", run=run_id, reason=str(error))


def record_stopped(run_id: int) -> None:
    """Make a run go on at the next start after its worker was told to stop."""
    try:
        with _services() as services:
            services.runs.stopped(run_id)
    except (BackendError, SQLAlchemyError) as error:  # it then counts as cut off
        log.warning("run.stop_not_recorded", run=run_id, reason=str(error))


def queue_waiting() -> None:
    """Queue the runs that waited for another run of their project to end."""
    try:
        with _services() as services:
            requeue_pending(services)
    except (BackendError, SQLAlchemyError) as error:  # the poll queues what waits
        log.warning("run.not_queued", reason=str(error))


def run_worker(burst: bool = False) -> None:
    """Take up what was cut off, then work until told to stop.

    Parameters
    ----------
    burst
        Stop once nothing waits.
    """
    with _services() as services:
        services.queue.reap()
        for run in take_up(services):
            log.info("run.waiting", run=run.id, project=run.project)
        _push_on(services)
        pipeline.sweep(services)
    # The store is closed here: the jobs' processes must not share a connection.
    services.queue.run_worker(burst, record_killed, record_stopped, queue_waiting)


def _push_on(services: Services) -> None:
    """Queue unfinished pushes; if that fails, the poll reports it and tries again."""
    with suppress(QueueError):
        push_champions(services)


@contextmanager
def _services() -> Iterator[Services]:
    wait_quietly()
    services = build_services()
    configure_logging(services.settings.log_level)
    try:
        yield services
    finally:
        services.engine.dispose()


if __name__ == "__main__":
    run_worker()
