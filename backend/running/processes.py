"""One process of the loop: what it is, and how it is started, watched and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backend.orphans import die_with_parent
from backend.pids import descendants, kill_all
from backend.running.errors import ServiceFailed

LOG_LINES_SHOWN = 12
LOG_BYTES_READ = 8192
LOG_BYTES_KEPT = 20_000_000


@dataclass(frozen=True)
class Service:
    """A process that the loop needs.

    Parameters
    ----------
    name, label
        The name of its log file, and its name for people.
    command
        Program and arguments.
    where
        Its address or file, for people.
    healthy
        Takes the process id and returns whether the service answers.
    environment
        Environment variables beside those of our own process.
    folder
        Its working folder; None for the supervisor's.
    patience_s
        How long its start may take, in seconds.
    grace_s
        Seconds between SIGTERM and SIGKILL.
    on_orphaned
        Signal that the kernel sends it if we die.
    """

    name: str
    label: str
    command: tuple[str, ...]
    where: str
    healthy: Callable[[int], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    patience_s: float = 60.0
    grace_s: float = 5.0
    on_orphaned: signal.Signals = signal.SIGTERM


class Process:
    """A started service, in a session of its own, so that Ctrl-C reaches us alone."""

    def __init__(self, service: Service, log: Path, folder: Path) -> None:
        self.service = service
        self.log = log
        self.started = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        _turn_over(log)
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                service.command,
                cwd=service.folder or folder,
                env={**os.environ, **service.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, service.on_orphaned, os.getpid()),
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    @property
    def age_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started

    def is_up(self) -> bool:
        """Tell whether it answers yet.

        Raises
        ------
        ServiceFailed
            It ended or was not healthy in time; the message ends with the last lines of its log.
        """
        if self.exit_code is not None:  # checked first: another server may answer in its place
            raise ServiceFailed(f"{self.service.label} {self.ending()}{self.last_words()}")
        if self.service.healthy(self.pid):
            return True
        if self.age_s > self.service.patience_s:
            patience = f"within {self.service.patience_s:.0f} s."
            raise ServiceFailed(
                f"{self.service.label} did not answer {patience}{self.last_words()}"
            )
        return False

    def ending(self) -> str:
        """Say how it ended, such as ``ended with code 1.``."""
        code = self.exit_code or 0
        return f"was ended by {signal.Signals(-code).name}." if code < 0 else f"ended with {code}."

    def last_words(self) -> str:
        """Return the end of its log, and the place of the rest."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LOG_BYTES_READ))
            lines = log.read().decode("utf-8", "replace").splitlines()
        shown = "".join(f"\n  {line}" for line in lines[-LOG_LINES_SHOWN:])
        return f" The end of {self.log}:{shown}" if lines else f" Its log, {self.log}, is empty."

    def stop(self) -> None:
        """End it and everything that it started, by SIGTERM and, after its grace, by SIGKILL."""
        family = descendants(self.pid)
        self._popen.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(self.service.grace_s)
        kill_all([*family, *descendants(self.pid)])
        if self.exit_code is None:
            self._popen.kill()
        self._popen.wait()


def _turn_over(log: Path) -> None:
    """Move a long log to a second file, replacing the one moved before."""
    if log.exists() and log.stat().st_size > LOG_BYTES_KEPT:
        log.replace(log.with_suffix(".log.1"))
