"""Cytoloop's own two processes: the web server and the worker."""

from __future__ import annotations

import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.worker import BaseWorker

from backend.credentials import Credentials
from backend.pids import is_running
from backend.queue import LEARN, name_in
from backend.running.http import answers
from backend.running.lock import holder
from backend.running.processes import Service
from backend.settings import PACKAGE_ROOT, Settings

THREADS = 8
#: The longest silence of gunicorn's worker thread; requests have limits of their own.
TIMEOUT_S = 120
#: How long a worker of another host may be silent. RQ's workers report every 405 seconds while they
#: wait for a job, every 30 while they work on one.
SILENCE = timedelta(minutes=8)


def web_command(settings: Settings) -> tuple[str, ...]:
    """Return gunicorn's command: one process, which holds the loaded versions, with many threads.

    It starts in `PACKAGE_ROOT`: gunicorn first looks for imports in its working folder.
    """
    return (
        *(sys.executable, "-P", "-m", "gunicorn", "backend.wsgi:app"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", str(THREADS)),
        *("--bind", f"{settings.host}:{settings.port}"),
        *("--timeout", str(TIMEOUT_S), "--graceful-timeout", "3"),
        # Otherwise made in the user's home.
        "--no-control-socket",
    )


def web_service(settings: Settings) -> Service:
    """Return Cytoloop's web server."""
    here = settings.address_here
    return Service(
        name="web",
        label="Cytoloop",
        command=web_command(settings),
        where=here,
        healthy=lambda pid: answers(f"{here}/health"),
        environment=environment(settings),
        folder=PACKAGE_ROOT,
    )


def web_address(settings: Settings) -> str:
    """Return the address at which to ask the web server: on this machine if `cytoloop up` runs it.

    Label Studio's address for it may only work from Label Studio's side.
    """
    return settings.address_here if holder(settings.home) else settings.backend_address


def worker_service(settings: Settings) -> Service:
    """Return the worker that trains and pushes predictions."""
    home_id = Credentials.load_or_create(settings).home_id
    return Service(
        name="worker",
        label="Worker",
        command=(str(Path(sys.executable).with_name("cytoloop")), "worker"),
        where=f"logs in {settings.home / 'logs' / 'worker.log'}",
        healthy=partial(has_worker, settings.redis_address, home_id),
        environment=environment(settings),
        on_orphaned=signal.SIGKILL,
    )


def environment(settings: Settings) -> dict[str, str]:
    """Return, as environment variables, what the options of `cytoloop up` may have changed."""
    return {
        "CYTOLOOP_HOME": str(settings.home),
        "CYTOLOOP_HOST": settings.host,
        "CYTOLOOP_PORT": str(settings.port),
        "CYTOLOOP_LABEL_STUDIO_PORT": str(settings.label_studio_port),
        "PYTHONUNBUFFERED": "1",
    }


def has_worker(redis_address: str, home_id: str, pid: int | None = None) -> bool:
    """Tell whether a worker of a home, or the one of a process id, waits or works."""
    try:
        with Redis.from_url(redis_address, socket_connect_timeout=1) as connection:
            living = [each for each in workers(connection, home_id) if lives(each)]
    except RedisError:
        return False
    return any(pid in (None, worker.pid) for worker in living)


def workers(connection: Redis, home_id: str) -> list[BaseWorker]:
    """Return a home's workers, including dead ones, without those of homes that share its Redis."""
    return list(Worker.all(queue=Queue(name_in(home_id, LEARN), connection=connection)))


def lives(worker: BaseWorker) -> bool:
    """Tell whether a worker's process is alive, as far as this machine can tell."""
    if worker.hostname == socket.gethostname() and worker.pid:
        return is_running(worker.pid)
    heard = worker.last_heartbeat
    return heard is not None and datetime.now(UTC) - heard.replace(tzinfo=UTC) < SILENCE
