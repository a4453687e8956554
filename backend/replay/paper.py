"""The loop without its servers: the same store, pipeline, gate and predictor, in one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from backend.credentials import Credentials
from backend.datasets.label_config import label_config_of
from backend.errors import LabelStudioError, NotFound
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connection import Connection
from backend.labelstudio.results import Region
from backend.learning import pipeline
from backend.learning.triggers import after_correction, take_up
from backend.replay.ledger import Ledger, Row
from backend.replay.outcomes import Outcomes
from backend.replay.playing import LabelledSet, Opened, Play, learned_from, play
from backend.services import Services
from backend.serving.predictor import Predictor
from backend.serving.slot import Served, Slot
from backend.settings import Settings
from backend.store.database import open_database
from backend.store.projects import Project
from model.keeping.registry import Registry

if TYPE_CHECKING:
    from backend.queue import JobQueue

PROJECT = 1


class NoConnection(Connection):
    """Stands for Label Studio's connection: only the store knows anything."""

    def request(self, method: str, path: str, **sent: Any) -> Any:
        raise LabelStudioError("this replay has no Label Studio")


class NoLabelStudio(LabelStudio):
    """A client whose Label Studio is always away."""

    def __init__(self) -> None:
        super().__init__("http://localhost", "")
        self._http = NoConnection("http://localhost", "")


class Waiting:
    """Stands for the queue without Redis: keeps ids until somebody works on them."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def enqueue_learn(self, run_id: int) -> None:
        if run_id not in self.runs:
            self.runs.append(run_id)

    def enqueue_push(self, project: int, version_id: str) -> bool:
        """Do nothing: a task gets its boxes when it is opened."""
        return False

    def drop_learn(self, run_id: int) -> None:
        """Do nothing: what was cut off is queued anew."""

    def is_live(self, run_id: int) -> bool:
        return False


@dataclass(frozen=True)
class PaperServices(Services):
    """The parts of an installation without Label Studio and Redis."""

    @cached_property
    def queue(self) -> JobQueue:
        return cast("JobQueue", Waiting())

    @cached_property
    def label_studio(self) -> LabelStudio:
        return NoLabelStudio()


class PaperDesk:
    """An annotator's desk in this process.

    Parameters
    ----------
    services
        Those of an installation of its own.
    lag
        Number of images corrected before a run's outcome is served.
    """

    form = "in process"

    def __init__(self, services: PaperServices, project: Project, lag: int = 0) -> None:
        self.project = project
        self._services = services
        self._lag = lag
        self._outcomes = Outcomes(services, project.id)
        self._serve(services.annotations.corrected_count(project.id))

    @property
    def served(self) -> Served:
        """What answers now."""
        return self._predictor.slot.current(str(self.project.id))

    def tasks(self) -> Mapping[str, tuple[int, bool]]:
        """Return, by sha256, each image's task and whether it was already submitted."""
        done = set(self._services.annotations.corrected_in_order(self.project.id))
        images = self._services.images.all(self.project.id)
        return {i.sha256: (i.task, i.task in done) for i in images if i.task is not None}

    def open(self, task: int) -> Opened:
        """Show a task, by the code that answers /predict."""
        config = self.project.label_config
        (answer,) = self._predictor.predict(self.project.id, [{"id": task}], config)
        if isinstance(answer, list):
            raise NotFound(f"Task {task} could not be served; its image is not readable any more.")
        served = str(answer["model_version"])
        learned = learned_from(self._services, self.project.id, served)
        return Opened(tuple(answer["result"]), served, learned, prediction=task)

    def submit(self, task: int, regions: Sequence[Region], seconds: float, opened: Opened) -> None:
        """Record an annotation, as the webhook does."""
        at = datetime.now(UTC)
        self._services.annotations.record(
            Annotation(
                id=task,
                project=self.project.id,
                task=task,
                result=tuple(regions),
                created_at=at,
                updated_at=at,
                annotator="replay",
                lead_time=seconds,
                parent_prediction=opened.prediction,
            )
        )

    def settle(self, corrected: int) -> None:
        """Carry out the run that is due; its outcome is served ``lag`` images later."""
        after_correction(self._services, self.project.id)
        waiting = cast(Waiting, self._services.queue).runs
        while waiting:
            pipeline.learn(self._services, waiting.pop(0))
            self._outcomes.keep()
        if self._outcomes.at(corrected - self._lag) != self._outcome:
            self._serve(corrected)

    def _serve(self, corrected: int) -> None:
        self._outcome = self._outcomes.at(corrected - self._lag)
        registry, device = self._services.registry, self._services.settings.device
        served = Served.of(registry.load(self._outcome.version, device), self._outcome.policy)
        self._predictor = Predictor(self._services, _Fixed(self._services, served))


class _Fixed(Slot):
    """Serves one fixed version, whichever is champion."""

    def __init__(self, services: Services, served: Served) -> None:
        super().__init__(services.registry, services.settings.device)
        self._served = served

    def current(self, project: str, wait_s: float = 0.0) -> Served:
        return self._served


@contextmanager
def paper_loop(settings: Settings) -> Iterator[PaperServices]:
    """Open an installation without servers on a home of its own; go on with what was cut off.

    Its store is its own too, and no task is watched, whatever the settings say.
    """
    own = settings.model_copy(update={"database_url": "", "watch_share": 0.0})
    own.home.mkdir(parents=True, exist_ok=True)
    database = open_database(own.database_address)
    services = PaperServices(own, Credentials.load_or_create(own), database)
    try:
        take_up(services)
        yield services
    finally:
        database.dispose()


def lay_out(services: Services, labelled: LabelledSet, title: str) -> Project:
    """Make a project with a task for each image; existing tasks stay."""
    project = services.projects.ensure(PROJECT, title, label_config_of(labelled.classes))
    known = {i.sha256: i.task for i in services.images.all(project.id) if i.task is not None}
    task = max(known.values(), default=0)
    for image in labelled.images:
        if image.sha256 not in known:
            task += 1
            raw = image.read()
            services.images.keep(image.path.read_bytes())
            services.images.add(project.id, *image.key, image.name, *raw.size)
            services.images.attach_task(project.id, *image.key, task)
    return project


def start_from(services: Services, project: Project, version: str, kept_in: Registry) -> None:
    """Make another registry's version the first champion; a repeated call changes nothing.

    Raises
    ------
    VersionNotFound, BrokenVersion
        That registry has no such version, or cannot read it.
    """
    if services.registry.history(str(project.id)):
        return
    services.registry.take_over(version, kept_in)
    services.registry.promote(str(project.id), version)


def play_on_paper(
    settings: Settings, labelled: LabelledSet, ledger: Ledger, how: Play
) -> Iterator[Row]:
    """Replay in this process, on a home of its own; skip what was already played.

    Yields
    ------
    Each new row.

    Raises
    ------
    BadRequest
        The existing rows were played with other choices.
    """
    start = how.begins_with(settings)
    ledger.keep_to(how.chosen(PaperDesk.form, settings, start=start, lag=how.lag))
    with paper_loop(settings) as services:
        project = lay_out(services, labelled, "Replay")
        if how.start:
            start_from(services, project, *how.start)
        yield from play(PaperDesk(services, project, how.lag), labelled.images, ledger, how)
