"""Starts all processes of the loop in order, watches and restarts them, ends them in reverse."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from backend.running.errors import ServiceFailed
from backend.running.processes import Process, Service

POLL_S = 0.05
WATCH_EVERY_S = 0.5
RESTARTS = 5
STEADY_S = 120.0


class Report(Protocol):
    """Tells a person what happens."""

    def starting(self, service: Service) -> None: ...
    def ready(self, service: Service, seconds: float) -> None: ...
    def restarting(self, service: Service, reason: str, delay_s: float) -> None: ...
    def stopping(self, service: Service) -> None: ...


class Supervisor:
    """Keeps services running until told to stop.

    A service that dies is restarted after 1, 2, 4, 8 and 16 s. If it dies more often, without ever
    having run for ``STEADY_S``, everything stops: a half-working loop would waste an annotator's
    time.

    Parameters
    ----------
    folder
        Working folder of processes that name none of their own.
    logs
        Each service writes ``<name>.log`` here, across restarts.
    """

    def __init__(self, folder: Path, logs: Path, report: Report) -> None:
        self._folder = folder
        self._logs = logs
        self._report = report
        self._processes: list[Process] = []
        self._deaths: dict[str, int] = {}

    def start(self, services: Sequence[Service]) -> None:
        """Start services side by side, and return once each of them answers.

        Raises
        ------
        ServiceFailed
            One of them did not start.
        """
        waiting = [self._launch(service) for service in services]
        while waiting:
            self._report.starting(waiting[0].service)
            for process in [process for process in waiting if process.is_up()]:
                self._report.ready(process.service, process.age_s)
                waiting.remove(process)
            time.sleep(POLL_S)

    def watch(self) -> None:
        """Restart what dies; end only by an error or an interrupt.

        Raises
        ------
        ServiceFailed
            A service died too often.
        """
        while True:
            self.revive()
            time.sleep(WATCH_EVERY_S)

    def revive(self) -> None:
        """Restart what has died.

        Raises
        ------
        ServiceFailed
            A service died too often.
        """
        for process in list(self._processes):
            if process.exit_code is not None:
                self._restart(process)

    def stop(self) -> None:
        """End all processes, the last started first."""
        while self._processes:
            process = self._processes[-1]
            self._report.stopping(process.service)
            process.stop()
            self._processes.pop()

    def _launch(self, service: Service) -> Process:
        process = Process(service, self._logs / f"{service.name}.log", self._folder)
        self._processes.append(process)
        return process

    def _restart(self, dead: Process) -> None:
        service = dead.service
        deaths = 1 if dead.age_s > STEADY_S else self._deaths.get(service.name, 0) + 1
        if deaths > RESTARTS:
            raise ServiceFailed(
                f"{service.label} died {deaths} times and {dead.ending()} Everything was stopped."
                f"{dead.last_words()}"
            )
        self._deaths[service.name] = deaths
        delay_s = 2.0 ** (deaths - 1)
        self._report.restarting(service, dead.ending(), delay_s)
        time.sleep(delay_s)
        place = self._processes.index(dead)
        process = self._processes[place] = Process(service, dead.log, self._folder)
        self._await_restarted(process)

    def _await_restarted(self, process: Process) -> None:
        try:
            while not process.is_up():
                time.sleep(POLL_S)
        except ServiceFailed:
            if process.exit_code is None:
                raise
            return  # it died again: the next look counts that death
        self._report.ready(process.service, process.age_s)
