"""A Label Studio that keeps the truth, changes at random, and sends events about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from backend.datasets.label_config import label_config_of
from backend.errors import LabelStudioMissing, LabelStudioSilent
from backend.labelstudio.client import OnUnlisted
from preprocessing.images import encode_png

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
WIDTH, HEIGHT = 64, 48
#: So few that several tasks may show one image.
IMAGES = 14
BAD_CONFIG = "<View/>"

Json = dict[str, Any]


CONFIGS = (
    label_config_of(("Cell", "Debris")),
    label_config_of(("Cell", "Dust")),
    label_config_of(("Cell",)),
    BAD_CONFIG,
)


def files() -> dict[str, bytes]:
    """Return images of noise, none of which shows the field of another."""
    drawn = np.random.default_rng(5).integers(0, 256, (IMAGES, 6, 8), np.uint8)
    shown = np.kron(drawn, np.ones((HEIGHT // 6, WIDTH // 8), np.uint8))
    return {f"/data/{n}.png": encode_png(image) for n, image in enumerate(shown)}


@dataclass
class Truth:
    """A project as Label Studio has it, with its tasks as the API lists them."""

    id: int
    label_config: str
    gone: bool = False
    tasks: dict[int, Json] = field(default_factory=dict)

    @property
    def described(self) -> Json:
        return {"id": self.id, "title": f"project {self.id}", "label_config": self.label_config}

    def image_of(self, task: int) -> str:
        return str(self.tasks[task]["data"]["image"]).removeprefix("/data/")

    def annotations(self) -> list[Json]:
        return [a for task in self.tasks.values() for a in task["annotations"]]


class Studio:
    """The API that Cytoloop asks, and the annotators who change what it answers.

    Parameters
    ----------
    files
        The images, by address.

    Attributes
    ----------
    on_the_way
        Events that were sent and have not arrived.
    answers
        How many more answers it gives before it goes away; None: it stays.
    written
        The regions of each annotation at each moment when it was changed.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.truths: dict[int, Truth] = {}
        self.on_the_way: list[Json] = []
        self.answers: int | None = None
        self.written: dict[tuple[int, datetime], list[Json]] = {}
        self._files = files
        self._changes = 0
        self._ids = 0

    # What annotators do

    def create_project(self, id: int) -> Truth:
        self.truths[id] = Truth(id, CONFIGS[0])
        return self.truths[id]

    def import_task(self, truth: Truth, image: int) -> int:
        id, at = self._new_id(), self._now()
        made = {"id": id, "created_at": at, "updated_at": at, "annotations": []}
        truth.tasks[id] = {**made, "data": {"image": f"/data/{image}.png"}}
        return id

    def annotate(self, truth: Truth, task: int, result: list[Json], skipped: bool) -> None:
        at = self._touch(truth, task)
        made = {"id": self._new_id(), "created_at": at, "updated_at": at}
        made |= {"task": task, "result": result, "was_cancelled": skipped}
        truth.tasks[task]["annotations"].append(made)
        self._send(truth, "ANNOTATION_CREATED", annotation=made)

    def update(self, truth: Truth, annotation: Json, result: list[Json], skipped: bool) -> None:
        at = self._touch(truth, annotation["task"])
        annotation |= {"result": result, "was_cancelled": skipped, "updated_at": at}
        self._send(truth, "ANNOTATION_UPDATED", annotation=annotation)

    def delete(self, truth: Truth, annotation: Json) -> None:
        self._touch(truth, annotation["task"])
        truth.tasks[annotation["task"]]["annotations"].remove(annotation)
        self._send(truth, "ANNOTATIONS_DELETED", annotations=[{"id": annotation["id"]}])

    def change_config(self, truth: Truth, label_config: str) -> None:
        truth.label_config = label_config
        self._send(truth, "PROJECT_UPDATED")

    def _send(self, truth: Truth, action: str, **what: Any) -> None:
        event = deepcopy({"action": action, "project": truth.described, **what})
        if sent := event.get("annotation"):
            self.written[sent["id"], _moment(sent["updated_at"])] = sent["result"]
        self.on_the_way.append(event)

    def _touch(self, truth: Truth, task: int) -> str:
        truth.tasks[task]["updated_at"] = self._now()
        return str(truth.tasks[task]["updated_at"])

    def _now(self) -> str:
        self._changes += 1
        return (START + timedelta(milliseconds=self._changes)).isoformat()

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    # What Cytoloop asks

    def project(self, id: int) -> Json:
        truth = self._asked(id)
        skipped = sum(bool(a["was_cancelled"]) for a in truth.annotations())
        return {
            **truth.described,
            "task_number": len(truth.tasks),
            "total_annotations_number": len(truth.annotations()) - skipped,
            "skipped_annotations_number": skipped,
        }

    def newest_change(self, project: int) -> datetime | None:
        tasks = self._asked(project).tasks.values()
        return max((_moment(task["updated_at"]) for task in tasks), default=None)

    def changed_tasks(self, project: int, since: datetime, _: OnUnlisted) -> Iterator[Json]:
        listed = self._listed(project, lambda task: -_moment(task["updated_at"]).timestamp())
        return (task for task in listed if _moment(task["updated_at"]) >= since)

    def tasks(self, project: int, _: OnUnlisted) -> Iterator[Json]:
        return self._listed(project, lambda task: task["id"])

    def listed_task(self, project: int, id: int) -> Json:
        tasks = self._asked(project).tasks
        if id not in tasks:
            raise LabelStudioMissing(f"Project {project} has no task {id}")
        return dict(json.loads(json.dumps(tasks[id])))

    def download(self, path: str) -> bytes:
        self._answer()
        return self._files[path]

    def _listed(self, project: int, order: Callable[[Json], Any]) -> Iterator[Json]:
        for task in sorted(self._asked(project).tasks.values(), key=order):
            self._answer()
            yield json.loads(json.dumps(task))

    def _asked(self, project: int) -> Truth:
        self._answer()
        truth = self.truths[project]
        if truth.gone:
            raise LabelStudioMissing(f"GET /api/projects/{project}/: It is not there")
        return truth

    def _answer(self) -> None:
        if self.answers == 0:
            raise LabelStudioSilent("Label Studio cannot be reached")
        if self.answers is not None:
            self.answers -= 1


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
