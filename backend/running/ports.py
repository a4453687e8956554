"""Ports: they must be free before anything starts, and are kept for later commands."""

from __future__ import annotations

import errno
import socket

from backend.running.errors import PortBusy, RunningError
from backend.settings import PORTS, PORTS_FILE, Settings
from model.atomic import write_json


def is_free(host: str, port: int) -> bool:
    """Tell whether we could listen on an address.

    Raises
    ------
    RunningError
        Nobody could: for example a port that only root may take, or another machine's address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As for a server: connections that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise RunningError(
                f"Cytoloop cannot listen on {host}:{port} ({error.strerror}): choose another "
                "CYTOLOOP_HOST or port."
            ) from error
    return True


def require_free(host: str, port: int, label: str, option: str, variable: str) -> None:
    """Raise if an address is taken.

    Parameters
    ----------
    label
        The service that wants it.
    option, variable
        The option and the variable that choose another port.

    Raises
    ------
    PortBusy
        The message names the port, the service and both ways to change it.
    RunningError
        Nothing could listen there.
    """
    if not is_free(host, port):
        raise PortBusy(
            f"Port {port}, where {label} should listen, is taken by another program. Stop that "
            f"program, or choose another port: cytoloop up {option} {port + 1} (or {variable})."
        )


def keep(settings: Settings) -> None:
    """Keep the ports, for later commands to find the loop and for the next `cytoloop up`.

    Label Studio stores addresses with them: of the backend, and in the tasks' data.
    """
    write_json(settings.home / PORTS_FILE, {name: getattr(settings, name) for name in PORTS})
