"""Runs the whole loop on one machine: `cytoloop up` from the first line to Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from backend.credentials import FILE_NAME, Credentials
from backend.datasets.finding import find_images
from backend.errors import BadSetting
from backend.running.label_studio import is_first_start, label_studio_service, require_same
from backend.running.lock import hold
from backend.running.ours import web_service, worker_service
from backend.running.ports import keep, require_free
from backend.running.processes import Service
from backend.running.projects import open_projects
from backend.running.redis import redis_service
from backend.running.supervisor import Supervisor
from backend.running.terminal import Terminal
from backend.services import Services, build_services
from backend.settings import Settings

FIRST_START_HINT = "the first start makes its database: about a minute"


def run_loop(settings: Settings, images: Path | None = None) -> None:
    """Start everything, open the projects, and keep it all running until Ctrl-C or SIGTERM.

    Parameters
    ----------
    images
        A folder to make a project of.

    Raises
    ------
    RunningError
        Such as PortBusy, ProgramMissing or ServiceFailed; each says what to do. Everything started
        has been stopped.
    BadSetting
        Cytoloop and Label Studio would listen on the same port.
    Refused
        The environment names another Label Studio than the home's projects come from.
    BadRequest
        The folder has no image.
    """
    if images is not None:
        find_images(images)  # before a project is made of it
    if not settings.home.exists():  # made only if a loop can start in it
        _require_free_ports(settings, bool(settings.label_studio_url))
    services = build_services(settings)
    credentials, label_studio = services.credentials, services.label_studio.url
    require_same(services, label_studio)
    with hold(settings.home, label_studio, settings.backend_address), _ended_by_signals():
        _require_free_ports(settings, bool(credentials.label_studio_url))
        keep(settings)
        terminal = Terminal(_hints(settings))
        supervisor = Supervisor(settings.home, settings.logs_folder, terminal)
        try:
            for stage in _stages(settings, credentials):
                supervisor.start(stage)
            welcome(services, terminal)
            open_projects(services, images, terminal, supervisor.revive)
            terminal.say("Ctrl-C stops everything.")
            supervisor.watch()
        except KeyboardInterrupt:
            terminal.say()
        finally:
            supervisor.stop()
            terminal.stopped()


def _stages(settings: Settings, credentials: Credentials) -> Iterator[list[Service]]:
    """Yield what must run here, stage by stage; services given by an address run elsewhere."""
    if not settings.redis_url:
        yield [redis_service(settings)]
    ours = [web_service(settings), worker_service(settings)]
    yield (
        ours
        if credentials.label_studio_url
        else [label_studio_service(settings, credentials), *ours]
    )


def _require_free_ports(settings: Settings, attached: bool) -> None:
    host, port = settings.host, settings.port
    require_free(host, port, "Cytoloop", "--port", "CYTOLOOP_PORT")
    if attached:
        return
    option, variable = "--label-studio-port", "CYTOLOOP_LABEL_STUDIO_PORT"
    require_free(host, settings.label_studio_port, "Label Studio", option, variable)
    if port == settings.label_studio_port:
        raise BadSetting(
            f"Cytoloop and Label Studio cannot both listen on port {port}: choose another for one "
            f"of them, by --port (or CYTOLOOP_PORT) or {option} (or {variable})."
        )


def _hints(settings: Settings) -> dict[str, str]:
    return {"label-studio": FIRST_START_HINT} if is_first_start(settings) else {}


def welcome(services: Services, terminal: Terminal) -> None:
    """Say where to label and where the dashboard is, and the logins."""
    settings, credentials = services.settings, services.credentials
    terminal.say()
    terminal.say(f"Label cells   {services.label_studio_for_browsers}")
    if not credentials.label_studio_url:
        # Label Studio uses it when it makes the account, and does not say if it was changed.
        login = f"user {credentials.email}  password {credentials.password}"
        terminal.say(f"              {login}  (until it is changed there)")
    terminal.say(f"See progress  {settings.browser_address}")
    dashboard_password = credentials.backend_password
    terminal.say(f"              user {settings.backend_user}  password {dashboard_password}")
    kept = "The login is" if credentials.label_studio_url else "Both logins are"
    terminal.say(f"{kept} kept in {settings.home / FILE_NAME}.")
    terminal.say()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and a closed terminal end the loop as Ctrl-C does.

    SIGINT is set too: jobs that a shell starts with ``&`` ignore it, but whoever sends it means it.
    Under `nohup` a closed terminal stays ignored.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    ending = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in ending]
    try:
        yield
    finally:
        for number, handler in zip(ending, before, strict=True):
            signal.signal(number, handler)
