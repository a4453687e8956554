"""Ports that must be free before anything starts, and are kept for the commands that follow."""

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
        Nothing could, such as on a port that only root may take, or on another machine's address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As a server would: connections that are still closing do not count.
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
    """Raise where an address is taken.

    Parameters
    ----------
    label
        Which service wants it.
    option, variable
        How a person chooses another port.

    Raises
    ------
    PortBusy
        Names the port, the service and both ways out.
    RunningError
        Nothing could listen there.
    """
    if not is_free(host, port):
        raise PortBusy(
            f"Port {port}, where {label} should listen, is taken by another program. Stop that "
            f"program, or choose another port: cytoloop up {option} {port + 1} (or {variable})."
        )


def keep(settings: Settings) -> None:
    """Have every later command find the loop on these ports, and the next `cytoloop up` take them.

    Addresses with them are written into Label Studio: of the backend, and in the tasks' data.
    """
    write_json(settings.home / PORTS_FILE, {name: getattr(settings, name) for name in PORTS})
