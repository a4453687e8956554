"""Giving a new champion's boxes to the tasks that nobody has labelled yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any

import structlog

from backend.errors import LabelStudioError
from backend.services import Services
from backend.serving.predictor import Predictor
from backend.serving.slot import Slot

log = structlog.get_logger(__name__)

BATCH = 8
#: Loading the champion is the first thing this job does; there is nobody to answer meanwhile.
LOAD_S = 600.0

Task = Mapping[str, Any]


def push(services: Services, project: int, version_id: str) -> int:
    """Store predictions for the unlabelled tasks, then make Label Studio show them.

    Dropped as soon as another version is champion: the push of that one follows.

    Returns
    -------
    How many predictions were stored.

    Raises
    ------
    LabelStudioError
        When Label Studio cannot be reached, or takes none of a batch.
    """
    label_config = services.projects.get(project).label_config
    pushed = 0
    with closing(Slot(services.registry, services.settings.device)) as slot:
        predictor = Predictor(services, slot, first_load_s=LOAD_S)
        served = slot.current(str(project), wait_s=LOAD_S).served_name
        for tasks in _batches(_without(served, services.label_studio.unlabelled_tasks(project))):
            if _superseded(services, project, version_id):
                log.info("push.superseded", project=project, version=version_id, pushed=pushed)
                return pushed
            answers = predictor.predict(project, tasks, label_config)
            pushed += _store(services, tasks, answers)
    if not _superseded(services, project, version_id):
        _show(services, project, served, pushed)
        services.projects.set_pushed(project, version_id)
    log.info("push.done", project=project, version=version_id, pushed=pushed)
    return pushed


def _show(services: Services, project: int, served: str, pushed: int) -> None:
    """Make Label Studio show this version's boxes; it refuses a name that no prediction has."""
    try:
        services.label_studio.patch_project(project, model_version=served)
    except LabelStudioError as error:
        if pushed:
            raise
        log.info("push.nothing_to_show", project=project, reason=str(error))


def _superseded(services: Services, project: int, version_id: str) -> bool:
    return services.registry.champion(str(project)).id != version_id


def _without(served: str, tasks: Iterator[Task]) -> Iterator[Task]:
    """Leave out the tasks that have this version's boxes already, such as by /predict."""
    for task in tasks:
        names = {p.get("model_version") for p in task.get("predictions") or ()}
        if served not in names:
            yield task


def _batches(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while batch := list(islice(tasks, BATCH)):
        yield batch


def _store(services: Services, tasks: list[Task], answers: list[Any]) -> int:
    """Store a batch; a task that was deleted meanwhile does not hold up the others."""
    stored, refused = 0, None
    for task, answer in zip(tasks, answers, strict=True):
        if not answer:
            continue
        try:
            services.label_studio.create_prediction(
                task["id"], answer["result"], answer["score"], answer["model_version"]
            )
        except LabelStudioError as error:
            log.warning("push.refused", task=task["id"], reason=str(error))
            refused = error
        else:
            stored += 1
    if refused is not None and not stored:
        raise refused
    return stored
