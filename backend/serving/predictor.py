"""Tasks in, Label Studio predictions out: the one path behind /predict and CellBackend."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from backend import metrics
from backend.effort.watch import show, show_blank, watched_as
from backend.errors import BackendError, BadRequest
from backend.labelstudio.interface import LabellingInterface
from backend.numbers import NUMBERS_END
from backend.services import Services
from backend.serving.errors import NotReady
from backend.serving.slot import FIRST_LOAD_S, Served, Slot
from backend.serving.task_images import Task, read_task_image
from backend.store.predictions import StoredPrediction
from backend.store.projects import Project
from model.labels.sides import content_hash, is_reserved
from model.looking.loaded import Found
from model.versions import ModelVersion
from model.wording import limits_in_words
from preprocessing.errors import PreprocessingError
from preprocessing.images import ImageRecord

log = structlog.get_logger(__name__)

#: One answer for a task: a prediction, or ``[]``. For ``[]`` Label Studio stores nothing and asks
#: again. A prediction with an empty ``result`` says "no cells here" and is stored.
Answer = dict[str, Any] | list[Any]
NOTHING: list[Any] = []


class Predictor:
    """Answers for the project's champion.

    Parameters
    ----------
    slot
        Holds the loaded versions.
    first_load_s
        How long the very first answer may wait for its version, in seconds.
    """

    def __init__(self, services: Services, slot: Slot, first_load_s: float = FIRST_LOAD_S) -> None:
        self.slot = slot
        self.services = services
        self._first_load_s = first_load_s

    def predict(self, project_id: int, tasks: Sequence[Task], label_config: str) -> list[Answer]:
        """Answer for each task, in order.

        A task is answered with ``[]`` if its image cannot be read or the time budget is spent; this
        does not affect the others.

        Raises
        ------
        BadLabelConfig
            The project draws no boxes on an image.
        """
        deadline = time.monotonic() + self.services.settings.predict_budget_s
        interface = LabellingInterface.parse(label_config)
        # /predict does not send the project's title.
        project = self.services.projects.ensure(project_id, "", label_config)
        try:
            served = self.slot.current(str(project_id), wait_s=self._first_load_s)
        except NotReady as error:
            log.warning("predict.not_ready", project=project_id, reason=str(error))
            answers: list[Answer] = [NOTHING for _ in tasks]
        else:
            answers = [self._answer(project, task, interface, served, deadline) for task in tasks]
        metrics.TASKS_UNANSWERED.inc(sum(not answer for answer in answers))
        return answers

    def _answer(
        self,
        project: Project,
        task: Task,
        interface: LabellingInterface,
        served: Served,
        deadline: float,
    ) -> Answer:
        said = log.bind(project=project.id, task=task.get("id"), version=served.name)
        if time.monotonic() > deadline:
            said.warning("predict.out_of_time")
            return NOTHING
        try:
            image = read_task_image(self.services, project.id, task, interface.data_key)
            default_class = _default_class(project, served.loaded.version)
            found = served.loaded.find([image], default_class)[0]
        except (PreprocessingError, BackendError, OSError) as error:
            said.warning("predict.unreadable", reason=str(error))
            return NOTHING
        except (RuntimeError, ValueError, MemoryError):  # the detector's: such as CUDA's memory
            said.exception("predict.failed")
            return NOTHING
        return self._shown(project, task, image, found, interface, served)

    def _shown(
        self,
        project: Project,
        task: Task,
        image: ImageRecord,
        found: Found,
        interface: LabellingInterface,
        served: Served,
    ) -> Answer:
        policy, group = served.policy, found.prepared.group
        boxes = policy.shown(found.detections, group).boxes()
        boxes = interface.named(boxes, _default_class(project, served.loaded.version))
        size, name = image.size, (project.id, int(task["id"]))
        if project.blind and self._is_held_out(project, image):
            shown = show_blank(boxes, size, interface)
        else:
            kind = watched_as(*name, self.services.settings.watch_share)
            shown = show(boxes, found.detections.xyxy_px, size, interface, kind, name)
        regions = shown.regions
        limits = limits_in_words(policy.caps_reached(found.detections, group))
        if regions and limits:  # shown where the annotator looks
            regions[0]["meta"] = {"text": list(limits)}
        weight = served.loaded.groups.rarity(group)
        score = round(policy.certainty(found.detections, group, weight), 6)
        self.services.predictions.put(
            StoredPrediction(
                *name,
                *image.key,
                served.name,
                regions,
                score,
                group,
                (*found.flags, *limits),
                watch=shown.watch,
                counted_from=policy.counted_probability(group),
            )
        )
        metrics.PREDICTIONS.inc()
        return {"result": regions, "score": score, "model_version": served.name}

    def _is_held_out(self, project: Project, image: ImageRecord) -> bool:
        known = self.services.images.get(project.id, *image.key)
        if known is not None and known.side:
            return known.side == "held-out"
        return is_reserved(content_hash(*image.key))


def _default_class(project: Project, version: ModelVersion) -> str:
    """Return the class for boxes without a class of the project; empty if all have one.

    Finding it among several goes through all corrections (``Project.default_class``).
    """
    has_all = version.classes and set(version.classes) <= set(project.classes)
    return "" if has_all else project.default_class


def tasks_of(payload: Mapping[str, Any]) -> list[Task]:
    """Return the tasks of a /predict request.

    Raises
    ------
    BadRequest
        There is no list of tasks, or a task has no id.
    """
    tasks = payload.get("tasks")
    if not isinstance(tasks, list) or not all(
        isinstance(task, dict) and type(task.get("id")) is int and 1 <= task["id"] < NUMBERS_END
        for task in tasks
    ):
        raise BadRequest('"tasks" must be a list of tasks, each with a number from 1 on as id')
    return tasks
