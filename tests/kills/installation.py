"""An installation whose processes can be killed one by one, and are started again as `up` does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import requests

from backend.labelstudio.client import SECRET_HEADER
from backend.pids import descendants, kill_all
from backend.running.ours import environment, web_service, worker_service
from backend.running.processes import Process
from backend.running.redis import redis_service
from backend.services import Services, build_services
from backend.settings import Settings
from tests.kills.label_studio import PROJECT, Json
from tests.kills.processes import Forked, web, worker
from tests.kills.stages import Stops

KINDS = ("work-horse", "worker", "web", "redis", "all")
#: How long a job goes on without Redis.
PAUSE_S = 0.5


class Installation:
    """Redis, web and worker on a home of their own.

    Parameters
    ----------
    chosen
        Settings beside home, port and the address of Label Studio.
    checkpoint_every
        Steps of a training between two checkpoints.
    """

    def __init__(
        self, home: Path, port: int, label_studio: str, checkpoint_every: int, **chosen: Any
    ) -> None:
        self.settings = Settings(home=home, port=port, label_studio_url=label_studio, **chosen)
        self.stops = Stops(home)
        self._checkpoint_every = checkpoint_every
        self._logs = home / "logs"
        self._logs.mkdir()
        variables = {
            **chosen,
            "home": home,
            "port": port,
            "label_studio_url": label_studio,
        }
        self._environment = environment(self.settings) | {
            f"CYTOLOOP_{name.upper()}": str(value) for name, value in variables.items()
        }
        self._running: dict[str, Process | Forked] = {}

    @cached_property
    def services(self) -> Services:
        return build_services(self.settings)

    def up(self) -> None:
        """Start what does not run, and return when all of it answers."""
        for stage in (("redis",), ("web", "worker")):
            for name in stage:
                self._run(name)
            for name in stage:
                until(partial(self._is_up, name), f"{name} is up", self)

    def _is_up(self, name: str) -> bool:
        self._run(name)  # a worker may end only now, of the Redis that was killed
        return bool(self._services[name].healthy(self._running[name].pid))

    def _run(self, name: str) -> None:
        if name not in self._running or self._running[name].exit_code is not None:
            self._running[name] = self._started(name)

    def kill(self, kind: str) -> None:
        """Kill by SIGKILL: one of :data:`KINDS`."""
        jobs = descendants(self._running["worker"].pid)
        if kind == "work-horse":
            kill_all(jobs)
            return
        killed = [process for name, process in self._running.items() if kind in (name, "all")]
        family = [pid for process in killed for pid in descendants(process.pid)]
        # The job of a worker that is killed is the kernel's to end.
        kill_all([process.pid for process in killed] + [p for p in family if p not in jobs])
        for process in killed:
            wait_for_end(process)

    def down(self) -> None:
        self.kill("all")
        self.services.engine.dispose()

    def predict(self, task: Json) -> str:
        """Return the name that the web process signs an answer for a task with; empty: none yet."""
        answer = self._post(
            "predict",
            {"project": f"{PROJECT}.1", "tasks": [{"id": task["id"], "data": task["data"]}]},
        )
        (prediction,) = answer["results"]
        return str(prediction["model_version"]) if prediction else ""

    def tell(self, event: Json) -> bool:
        """Send an event as Label Studio does: once, whether or not anybody is there."""
        with suppress(requests.ConnectionError):
            self._post("webhook", event)
            return True
        return False

    def said(self) -> str:
        """Return the runs, and the end of each log."""
        runs = "\n".join(map(str, self.services.runs.all()))
        logs = sorted(self._logs.glob("*.log"))
        return "\n".join([runs, *(f"=== {log.name}\n{log.read_text()[-6000:]}" for log in logs)])

    def _post(self, path: str, body: Json) -> Json:
        credentials = self.services.credentials
        answer = requests.post(
            f"{self.settings.backend_address}/{path}",
            json=body,
            auth=(self.settings.backend_user, credentials.backend_password),
            headers={SECRET_HEADER: credentials.webhook_secret},
            timeout=30,
        )
        answer.raise_for_status()
        return dict(answer.json())

    @cached_property
    def _services(self) -> dict[str, Any]:
        makers = (redis_service, web_service, worker_service)
        return {(made := make(self.settings)).name: made for make in makers}

    def _started(self, name: str) -> Process | Forked:
        service, log = self._services[name], self._logs / f"{name}.log"
        if name == "web":
            return Forked(web, self._environment, log, service.command)
        if name == "worker":
            folder, every = self.settings.home, self._checkpoint_every
            return Forked(worker, self._environment, log, folder, every)
        return Process(service, log, self.settings.home)


def wait_for_end(process: Process | Forked) -> None:
    while process.exit_code is None:
        time.sleep(0.01)


def until(
    reached: Callable[[], Any], what: str, installation: Installation, within_s: float = 120
) -> Any:
    """Return the first true answer; raise what the processes said when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (seen := reached()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within_s} s\n{installation.said()}")
        time.sleep(0.05)
    return seen
