"""Checks the processes of the loop: Redis, the worker, the web server, Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import requests
from redis import Redis
from redis.exceptions import RedisError

from backend.credentials import FILE_NAME
from backend.doctor.findings import START, Finding, Installation, fail, ok, warn
from backend.errors import LabelStudioError
from backend.queue import without_password
from backend.running.errors import RunningError
from backend.running.http import TIMEOUT_S
from backend.running.label_studio import TESTED, program
from backend.running.ours import lives, web_address, workers
from backend.running.ports import is_free
from backend.running.redis import redis_server


def redis(installation: Installation) -> Iterator[Finding]:
    """Check that Redis answers."""
    address = installation.settings.redis_address
    where = without_password(address)
    try:
        with closing(_redis(address)) as connection:
            version = connection.info("server")["redis_version"]
    except (RedisError, OSError) as error:
        yield fail("Redis", f"{where} does not answer ({error})", _mend_redis(installation))
    else:
        yield ok("Redis", f"{version} at {where}")


def worker(installation: Installation) -> Iterator[Finding]:
    """Check that there is a worker to train."""
    home_id = installation.credentials.home_id if installation.credentials else ""
    try:
        with closing(_redis(installation.settings.redis_address)) as connection:
            found = workers(connection, home_id)
            living = [each for each in found if lives(each)]
            busy = [each.get_current_job_id() for each in living]
    except (RedisError, OSError):
        yield fail("Worker", "unknown, since Redis does not answer", "Mend Redis first.")
        return
    if not living:
        dead = f" ({len(found)} died)" if found else ""
        mend = f"{START} Beside a loop that runs elsewhere: cytoloop worker."
        yield fail("Worker", f"none{dead}: corrections are kept, but nothing learns", mend)
    else:
        jobs = ", ".join(job.removeprefix(f"{home_id}-") for job in busy if job)
        yield ok("Worker", f"{len(living)} alive, " + (f"busy with {jobs}" if jobs else "waiting"))


def web(installation: Installation) -> Iterator[Finding]:
    """Check that Cytoloop's own server answers; if not, find out who has its port."""
    settings = installation.settings
    if installation.web_answers:
        yield from _same_password(installation)
    elif not is_free(settings.host, settings.port):
        yield _taken("Cytoloop", settings.port, "CYTOLOOP_PORT")
    else:
        yield fail("Cytoloop", f"{web_address(settings)} does not answer", _mend_web(installation))


def label_studio(installation: Installation) -> Iterator[Finding]:
    """Check that Label Studio answers, has a known version, and accepts the token."""
    url = installation.label_studio.url
    if (version := _version_at(url)) is None:
        yield from _no_label_studio(installation)
        return
    if version.startswith(f"{TESTED}."):
        yield ok("Label Studio", f"{version} at {url}")
    else:
        says = f"{version} at {url}; Cytoloop is tested with {TESTED}"
        mend = f"Most will work. If not: make setup, or pip install 'label-studio=={TESTED}.*'."
        yield warn("Label Studio", says, mend)
    try:
        user = installation.label_studio.check()["user"]
    except LabelStudioError as error:
        mend = f"Copy a token from Account & Settings, {_put(installation)}."
        yield fail("Token", str(error), mend)
    else:
        yield ok("Token", f"that of {user}")


def _put(installation: Installation) -> str:
    """Say where to put a new token."""
    if installation.settings.label_studio_token:
        return "put it into CYTOLOOP_LABEL_STUDIO_TOKEN and start Cytoloop anew"
    return "then: cytoloop connect --token TOKEN --project ID"


def _same_password(installation: Installation) -> Iterator[Finding]:
    """Check that the server that answers belongs to this home."""
    address = web_address(installation.settings)
    try:
        answer = installation.metrics()
    except requests.RequestException as error:
        says = f"answers at {address}, but slowly ({error})"
        log = installation.settings.logs_folder / "web.log"
        yield warn("Cytoloop", says, f"Look again once it has less to do, or look into {log}.")
        return
    if answer.ok:
        yield ok("Cytoloop", f"answers at {address}")
        return
    yield fail(
        "Cytoloop",
        f"what answers at {address} refuses the password of {installation.settings.home}",
        "It runs on another home, or with another CYTOLOOP_BACKEND_PASSWORD: stop it, or choose "
        "its home (--home, CYTOLOOP_HOME).",
    )


def _redis(address: str) -> Redis:
    return Redis.from_url(address, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S)


def _mend_redis(installation: Installation) -> str:
    if installation.settings.redis_url:
        return "Start it, or correct CYTOLOOP_REDIS_URL."
    try:
        redis_server()
    except RunningError as error:
        return str(error)
    return _look_into(installation, "redis")


def _mend_web(installation: Installation) -> str:
    if installation.settings.backend_url and not installation.holder:
        return "Start the server there, or correct CYTOLOOP_BACKEND_URL."
    return _look_into(installation, "web")


def _look_into(installation: Installation, service: str) -> str:
    log = installation.settings.logs_folder / f"{service}.log"
    return f"cytoloop up runs all the same: look into {log}" if installation.holder else START


def _taken(what: str, port: int, variable: str) -> Finding:
    return fail(
        what,
        f"port {port} is taken by another program, where {what} should listen",
        f"Stop that program (ss -ltnp shows it), or choose another port ({variable}).",
    )


def _version_at(url: str) -> str | None:
    """Return the version of the Label Studio at an address; None if none answers."""
    try:
        answer = requests.get(f"{url}/api/version", timeout=TIMEOUT_S)
        return str(answer.json()["release"])
    except (requests.RequestException, KeyError, TypeError):
        return None


def _no_label_studio(installation: Installation) -> Iterator[Finding]:
    settings, url = installation.settings, installation.label_studio.url
    if installation.attached:
        where = installation.settings.home / FILE_NAME
        mend = f"Start it, or correct label_studio_url in {where} (or CYTOLOOP_LABEL_STUDIO_URL)."
        yield fail("Label Studio", f"no Label Studio answers at {url}", mend)
        return
    try:
        program(settings)
    except RunningError as error:
        yield fail("Label Studio", "is not installed", str(error))
        return
    if is_free(settings.host, settings.label_studio_port):
        mend = _look_into(installation, "label-studio")
        yield fail("Label Studio", f"{url} does not answer", mend)
    else:
        yield _taken("Label Studio", settings.label_studio_port, "CYTOLOOP_LABEL_STUDIO_PORT")
