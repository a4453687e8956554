"""Cytoloop's own two processes: the web server and the worker."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from rq import Worker

from backend.running.http import answers
from backend.running.processes import Service
from backend.settings import Settings

THREADS = 8
#: The longest silence of gunicorn's worker thread; the requests have limits of their own.
TIMEOUT_S = 120


def web_command(settings: Settings) -> tuple[str, ...]:
    """Return gunicorn's command: one process, since it holds the loaded versions, many threads."""
    return (
        *(sys.executable, "-m", "gunicorn", "backend.wsgi:app"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", str(THREADS)),
        *("--bind", f"{settings.host}:{settings.port}"),
        *("--timeout", str(TIMEOUT_S), "--graceful-timeout", "3"),
        # It would be made in the user's home.
        "--no-control-socket",
    )


def web_service(settings: Settings) -> Service:
    """Return Cytoloop's web server."""
    here = f"http://{settings.host}:{settings.port}"
    return Service(
        name="web",
        label="Cytoloop",
        command=web_command(settings),
        where=here,
        healthy=partial(answers, f"{here}/health"),
        environment=environment(settings),
    )


def worker_service(settings: Settings) -> Service:
    """Return the worker that trains and pushes predictions."""
    return Service(
        name="worker",
        label="Worker",
        command=(str(Path(sys.executable).with_name("cytoloop")), "worker"),
        where=f"logs in {settings.home / 'logs' / 'worker.log'}",
        healthy=partial(has_worker, settings.redis_address),
        environment=environment(settings),
        on_orphaned=signal.SIGKILL,
    )


def environment(settings: Settings) -> dict[str, str]:
    """Return as variables what the options of `cytoloop up` may have changed."""
    return {
        "CYTOLOOP_HOME": str(settings.home),
        "CYTOLOOP_HOST": settings.host,
        "CYTOLOOP_PORT": str(settings.port),
        "CYTOLOOP_LABEL_STUDIO_PORT": str(settings.label_studio_port),
        "PYTHONUNBUFFERED": "1",
    }


def has_worker(redis_address: str, pid: int | None = None) -> bool:
    """Tell whether a worker, or that of this process id, waits for jobs or works on one."""
    try:
        with Redis.from_url(redis_address, socket_connect_timeout=1) as connection:
            workers = Worker.all(connection=connection)
    except RedisError:
        return False
    return any(pid in (None, worker.pid) for worker in workers)
