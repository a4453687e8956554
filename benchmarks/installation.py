"""An installation of Cytoloop as seen from outside: `cytoloop up`, a process on its own home.

The end-to-end tests and the benchmarks of the whole loop drive it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from backend.credentials import Credentials
from backend.labelstudio.client import LabelStudio
from backend.settings import Settings

CYTOLOOP = Path(sys.executable).with_name("cytoloop")
READY = "Ctrl-C stops everything"
UP_WITHIN_S = 240


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], Any], within_s: float, every_s: float = 0.5) -> Any:
    """Return the first true answer; raise what was last seen when there is none in time."""
    until = time.monotonic() + within_s
    while not (seen := what()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what} still answers {seen!r} after {within_s} s")
        time.sleep(every_s)
    return seen


@dataclass
class Loop:
    """One `cytoloop up` on a home of its own."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    label_studio_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        return {
            **os.environ,
            "CYTOLOOP_HOME": str(self.home),
            "CYTOLOOP_PORT": str(self.port),
            "CYTOLOOP_LABEL_STUDIO_PORT": str(self.label_studio_port),
            **self.environment,
        }

    def up(self, *arguments: str) -> float:
        """Start and return the seconds until everything answers."""
        began = time.monotonic()
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [CYTOLOOP, "up", *arguments], env=self.variables, stdout=out, stderr=out
            )
        wait_for(self._is_ready, UP_WITHIN_S, every_s=0.1)
        return time.monotonic() - began

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(by)
        return self.process.wait(60)

    def run(self, *arguments: str) -> str:
        """Run a command of `cytoloop` on this home and return what it prints."""
        done = subprocess.run(
            [CYTOLOOP, *arguments], env=self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """Run a command that must fail, and return what it says."""
        done = subprocess.run(
            [CYTOLOOP, *arguments], env=self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        return done.stderr

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.run("status", "--json")))

    def processes(self) -> list[int]:
        """Return every process that was started on this home, whoever its parent is by now."""
        marked = f"CYTOLOOP_HOME={self.home}\0".encode()
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if marked in environ.read_bytes():
                    found.append(int(environ.parent.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    @property
    def log(self) -> Path:
        return self.home / "up.log"

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8")

    @property
    def credentials(self) -> Credentials:
        return Credentials.load_or_create(Settings(home=self.home))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def session(self) -> requests.Session:
        """Return a session that knows the backend's password; a command costs seconds."""
        session = requests.Session()
        session.auth = ("cytoloop", self.credentials.backend_password)
        return session

    @property
    def label_studio(self) -> LabelStudio:
        address = f"http://127.0.0.1:{self.label_studio_port}"
        return LabelStudio(address, self.credentials.label_studio_token)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said
        return READY in self.said
