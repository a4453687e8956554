from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backend.errors import LabelStudioError, LabelStudioMissing
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.client import OnUnlisted, is_labelled
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.learning import backoff
from backend.learning.poll import Poll
from backend.learning.problems import Problems
from backend.services import Services
from backend.store.runs import Run
from model.boxes import Box
from model.generated.fields import HARD, Field, FieldStyle, generate_field
from preprocessing.images import encode_png

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
#: Faint rims among blobs and fibres, which the classical detector finds instead: its AP50 over ten
#: fields was measured as 0.08. Eight steps from the starter find all four of the held-out field.
RIMS = FieldStyle(
    "rims", 0.2, background=0.4, ring=1.0, smudges=3.0, fibres=1.0, radius=12.0, touching=0.0
)


@pytest.fixture
def correct(services: Services, project: int) -> Callable[..., None]:
    """Return what submits a correction of each of some tasks, a minute after each other."""

    def submit(tasks: Iterable[int], regions: Sequence[dict[str, Any]] = (), id: int = 0) -> None:
        for task in tasks:
            at = START + timedelta(minutes=id or task)
            annotation = Annotation(id or task + 1, project, task, tuple(regions), at, at)
            assert services.annotations.record(annotation)

    return submit


@pytest.fixture
def add_image(services: Services, project: int) -> Callable[..., str]:
    """Return what makes a task of a small image and returns the image's hash."""

    def add(task: int, pixels: Any = None, page: int = 0) -> str:
        if pixels is None:
            pixels = np.full((48, 64), task, np.uint8)
        sha256 = services.images.keep(encode_png(pixels))
        height, width = pixels.shape
        services.images.add(project, sha256, page, f"image{task}.png", width, height)
        services.images.attach_task(project, sha256, page, task)
        return sha256

    return add


@pytest.fixture
def regions(services: Services, project: int) -> Callable[..., list[dict[str, Any]]]:
    """Return what writes boxes on a 64×48 image as Label Studio does."""
    interface = LabellingInterface.parse(services.projects.get(project).label_config)

    def write(*boxes: Box, width: int = 64, height: int = 48) -> list[dict[str, Any]]:
        return to_regions(boxes, width, height, interface)

    return write


@cache
def field_of(seed: int, cells: int, style: FieldStyle) -> Field:
    """The same for all tests, and never changed."""
    return generate_field(seed, (96, 96), cells, style, label="Cell")


@pytest.fixture
def correct_fields(
    correct: Callable[..., None], add_image: Callable[..., str], regions: Callable[..., Any]
) -> Callable[..., None]:
    """Return what generates fields of cells and submits their exact truth."""

    def submit(tasks: Iterable[int], style: FieldStyle = HARD, cells: int = 4) -> None:
        for task in tasks:
            field = field_of(task, cells, style)
            pixels = field.pixels
            add_image(task, pixels)
            boxes = [replace(box, score=None) for box in field.boxes]
            correct([task], regions(*boxes, width=96, height=96))

    return submit


class RecordedLabelStudio:
    """Stands where Label Studio would: answers with given tasks, keeps what it is told.

    The real one is spoken to in tests/e2e; here it must lose, refuse and go away on demand. It
    opens no task: the real one would ask the web process for the boxes of one that has none.
    """

    def __init__(
        self,
        tasks: Sequence[dict[str, Any]],
        files: dict[str, bytes],
        described: dict[str, Any],
    ) -> None:
        self.given = list(tasks)
        self.files = files
        self.predictions: list[tuple[int, str]] = []
        self.model_version = ""
        self.refuses: set[int] = set()
        self.unlisted: set[int] = set()
        self.described: dict[str, Any] | None = described
        self.asked: list[str] = []
        self.known_users: list[dict[str, Any]] = []

    def project(self, id: int) -> dict[str, Any]:
        if self.described is None:
            raise LabelStudioMissing(f"GET /api/projects/{id}/: It is not there")
        annotations = [a for task in self.given for a in task["annotations"]]
        skipped = sum(bool(a.get("was_cancelled")) for a in annotations)
        return {
            **self.described,
            "task_number": len(self.given),
            "total_annotations_number": len(annotations) - skipped,
            "skipped_annotations_number": skipped,
        }

    def users(self) -> Iterator[dict[str, Any]]:
        self.asked.append("users")
        yield from self.known_users

    def newest_change(self, project: int) -> datetime | None:
        changes = [datetime.fromisoformat(task["updated_at"]) for task in self.given]
        return max(changes, default=None)

    def changed_tasks(
        self, project: int, since: datetime, on_unlisted: OnUnlisted
    ) -> Iterator[dict[str, Any]]:
        self.asked.append("changed")
        newest_first = sorted(self.given, key=lambda task: task["updated_at"], reverse=True)
        for task in self._listed(newest_first, on_unlisted):
            if datetime.fromisoformat(task["updated_at"]) >= since:
                yield task

    def tasks(self, project: int, on_unlisted: OnUnlisted) -> Iterator[dict[str, Any]]:
        self.asked.append("all")
        listed = (task for task in self.given if task.get("project", project) == project)
        return self._listed(listed, on_unlisted)

    def _listed(
        self, tasks: Iterable[dict[str, Any]], on_unlisted: OnUnlisted
    ) -> Iterator[dict[str, Any]]:
        for task in tasks:
            if task["id"] in self.unlisted:
                on_unlisted(LabelStudioError("Label Studio answered 500 to GET /api/tasks"))
            else:
                yield task

    def listed_task(self, project: int, id: int) -> dict[str, Any]:
        for task in self.given:
            if (task["id"], task.get("project", project)) == (id, project):
                return task
        raise LabelStudioMissing(f"Project {project} has no task {id}")

    def delete_prediction(self, id: int) -> None:
        for task in self.given:
            kept = [one for one in task.get("predictions") or () if one["id"] != id]
            task["predictions"] = kept

    def unlabelled_tasks(self, project: int, on_unlisted: OnUnlisted) -> Iterator[dict[str, Any]]:
        listed = self._listed(self.given, on_unlisted)
        return (task for task in listed if not is_labelled(task))

    def download(self, path: str) -> bytes:
        if path not in self.files:
            raise LabelStudioError(f"GET {path}: It is not there")
        return self.files[path]

    def create_prediction(
        self, task: int, regions: Sequence[Any], score: float | None, model_version: str
    ) -> int:
        if task in self.refuses:
            raise LabelStudioError("Label Studio answered 404: was the task deleted?")
        self.predictions.append((task, model_version))
        return len(self.predictions)

    def patch_project(self, id: int, **fields: Any) -> dict[str, Any]:
        self.model_version = fields["model_version"]
        return fields


@pytest.fixture
def label_studio(services: Services, project: int) -> Callable[..., RecordedLabelStudio]:
    """Return what puts recorded tasks and files in the place of Label Studio."""

    def place(
        tasks: Sequence[dict[str, Any]] = (), files: dict[str, bytes] | None = None
    ) -> RecordedLabelStudio:
        known = services.projects.get(project)
        described = {"title": known.title, "label_config": known.label_config}
        recorded = RecordedLabelStudio(tasks, files or {}, described)
        services.__dict__["label_studio"] = recorded
        return recorded

    return place


#: An image for each task.
FILES = {f"/data/{id}.png": encode_png(np.full((48, 64), id, np.uint8)) for id in range(10)}


def task_of(id: int, minute: int, *annotations: dict[str, Any]) -> dict[str, Any]:
    """Return a task that was made in the minute of its id and changed in another."""
    return {
        "id": id,
        "data": {"image": f"/data/{id}.png"},
        "created_at": (START + timedelta(minutes=id)).isoformat(),
        "updated_at": (START + timedelta(minutes=minute)).isoformat(),
        "annotations": annotations,
    }


def annotation_of(id: int, minute: int = 0, skipped: bool = False) -> dict[str, Any]:
    at = (START + timedelta(minutes=minute)).isoformat()
    return {"id": id, "result": [], "created_at": at, "updated_at": at, "was_cancelled": skipped}


def corrected(*ids: int) -> list[dict[str, Any]]:
    return [task_of(id, id, annotation_of(id, id)) for id in ids]


def runs_of(services: Services, project: int) -> list[Run]:
    return services.runs.all(project)[::-1]


class Clock:
    """The seconds that the poll counts."""

    now = 1000.0


def seconds_about(moments: Sequence[int], until: int) -> list[int]:
    """Return the moments, and the seconds before and after them, from the first on."""
    near = {second for moment in moments for second in range(moment - 1, moment + 3)}
    return sorted(second for second in {*near, until} if second >= moments[0])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(backoff, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def problems() -> Problems:
    return Problems()


@pytest.fixture
def poll(services: Services, problems: Problems) -> Poll:
    return Poll(services, problems)
