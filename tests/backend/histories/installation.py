"""A new installation for each history: real SQLite, Redis, registry and web app, no process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flask import Flask
from redis import Redis
from rq import Queue, Worker
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from backend import jobs
from backend.http.parts import Parts
from backend.http.problems import answer_with_problems
from backend.http.webhooks import webhooks
from backend.labelstudio.client import SECRET_HEADER
from backend.learning.poll import Poll
from backend.learning.problems import Problems
from backend.queue import LEARN, JobQueue, name_in
from backend.services import Services, build_services
from backend.settings import Settings
from model.classical.detector import CLASSICAL_ID, classical_version
from model.config import DetectorConfig, TrainConfig
from model.keeping.registry import Registry
from model.labels.examples import DatasetSnapshot
from model.progress import Progress
from model.versions import GateDecision, ModelVersion
from preprocessing.groups import ContrastGroups
from tests.backend.histories.deaths import Life
from tests.backend.histories.expected import MILESTONES, STEP
from tests.backend.histories.studio import Studio, files


class Place:
    """Where histories are played one after another."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.redis = Redis.from_url(redis_url)
        self._folder, self._redis_url = folder, redis_url
        self._files = files()
        self._played = 0
        self._empty = build_services(self._settings("empty"))
        self._empty.engine.dispose()
        self.app = Flask("histories")
        self.app.register_blueprint(webhooks)
        answer_with_problems(self.app)

    def install(self) -> Installation:
        """Begin with an empty store; making its tables anew would take most of the time."""
        self.redis.flushall()
        shutil.rmtree(self._folder / str(self._played), ignore_errors=True)
        self._played += 1
        shutil.copytree(self._empty.settings.home, self._folder / str(self._played))
        services = build_services(self._settings(str(self._played)))
        return Installation(services, Studio(self._files), self.redis, self.app)

    def _settings(self, name: str) -> Settings:
        return Settings(
            home=self._folder / name,
            redis_url=self._redis_url,
            milestones=MILESTONES,
            milestone_step=STEP,
            first_version=CLASSICAL_ID,
            device="cpu",
        )


@dataclass
class Training:
    """Stands for training and judging a candidate: the draw of a history decides.

    Attributes
    ----------
    better
        Whether the gate lets the next candidate pass.
    meanwhile
        What else happens while it learns.
    begun
        The number of trainings, whatever became of them.
    """

    better: bool = False
    meanwhile: Any = None
    begun: int = 0

    def make_candidate(
        self,
        snapshot: DatasetSnapshot,
        registry: Registry,
        *,
        project: str,
        recipe: tuple[DetectorConfig, TrainConfig],
        **given: Any,
    ) -> ModelVersion:
        self.begun += 1
        given["workdir"].mkdir(parents=True, exist_ok=True)
        given["on_progress"](Progress("training", 0.3, 3, 10, loss=0.5))
        if self.meanwhile:
            self.meanwhile()
        given["on_progress"](Progress("storing", 0.9))
        detector, training = recipe
        version = replace(
            classical_version(),
            id=f"trained-{self.begun}",
            kind="trained",
            project=project,
            snapshot=snapshot.sha256,
            detector=detector,
            training=training,
        )
        return registry.add(version, ContrastGroups.none(), weights=None)

    def judge_beside_champion(
        self, services: Services, project: int, candidate: ModelVersion, champion: Any, *_: Any
    ) -> GateDecision:
        return GateDecision(self.better and candidate.id != champion.id, ("as drawn",))


class Installation:
    """The product, and the processes that play on it."""

    def __init__(self, services: Services, studio: Studio, redis: Redis, app: Flask) -> None:
        self.services, self.studio, self.redis = services, studio, redis
        services.__dict__["label_studio"] = studio
        self.life = Life(services)
        self.training = Training()
        self.poll = Poll(services, Problems())
        self._queue, self._app = services.queue, app
        Parts(services, None, None, Problems()).of(app)  # type: ignore[arg-type]
        self.learn = name_in(services.credentials.home_id, LEARN)
        queue = Queue(self.learn, connection=redis, serializer=JSONSerializer)
        self._worker = Worker([queue], connection=redis, serializer=JSONSerializer)

    def close(self) -> None:
        self.services.engine.dispose()

    # The web process

    def tell(self, event: dict[str, Any]) -> int:
        """Send an event, and return the answer's status."""
        secret = {SECRET_HEADER: self.services.credentials.webhook_secret}
        return self._app.test_client().post("/webhook", json=event, headers=secret).status_code

    def restart_web(self) -> None:
        self.poll = Poll(self.services, Problems())

    # Redis

    @property
    def is_redis_away(self) -> bool:
        return self.services.queue is not self._queue

    def send_redis_away(self) -> None:
        self.services.__dict__["queue"] = JobQueue("unix:///nowhere/redis.sock", 60, "")

    def bring_redis_back(self) -> None:
        self.services.__dict__["queue"] = self._queue

    # The worker

    def start_worker(self) -> None:
        jobs.run_worker(burst=True)

    def take_job(self) -> Job | None:
        """Take the job that has waited longest, as RQ does."""
        if (id := self.redis.lpop(f"rq:queue:{self.learn}")) is None:
            return None
        job = Job.fetch(id.decode(), connection=self.redis, serializer=JSONSerializer)
        self._worker.prepare_execution(job)
        self._worker.prepare_job_execution(job)
        return job

    def horse_ends(self, job: Job) -> None:
        """Do what RQ and the worker do when the process of a job has ended by itself."""
        job.delete()
        jobs.queue_waiting()

    def horse_dies(self, job: Job) -> None:
        """Do what the worker does when the process of a job was killed."""
        job.set_status(JobStatus.FAILED)
        jobs.record_killed(job.args[0], "SIGKILL")

    def waiting(self) -> list[str]:
        return [job.decode() for job in self.redis.lrange(f"rq:queue:{self.learn}", 0, -1)]

    @contextmanager
    def as_in_the_worker(self) -> Iterator[Services]:
        yield self.services
